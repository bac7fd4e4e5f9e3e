// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/backend/reference_context.hpp>
#include <samed/model.hpp>
#include <samed/variants/samed/samed.hpp>

/// Instantiates the door of a model: where every fact of V is checked.
template <class V>
void open_door() {
    samed::ReferenceContext<float> context;
    auto const load = [&](samed::ModelFile const& file) { return samed::Model<V, samed::ReferenceContext<float>>::load(file, context); };
    (void)load;
}
