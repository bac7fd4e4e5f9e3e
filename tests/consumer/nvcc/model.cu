// SPDX-License-Identifier: Apache-2.0
// A .cu instantiates a model: the headers that it needs compile under nvcc.
#include <samed/backend/reference_context.hpp>
#include <samed/model.hpp>
#include <samed/variants/sam/sam.hpp>
#include <samed/variants/samed/samed.hpp>

template class samed::Model<samed::variants::Samed<>, samed::ReferenceContext<float>>;
template class samed::Model<samed::variants::Sam<>, samed::ReferenceContext<float>>;
