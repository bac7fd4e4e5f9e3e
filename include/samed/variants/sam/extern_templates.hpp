// SPDX-License-Identifier: Apache-2.0
// What samed_instantiate(<target> VARIANT sam) compiles once. CMake turns this list into definitions.
#pragma once

#include <samed/segment.hpp>
#include <samed/variants/sam/sam.hpp>

namespace samed {

extern template Result<OpenModel<variants::Sam<>>> open(std::string const&, OpenOptions);
extern template Result<Masks> segment(OpenModel<variants::Sam<>> const&, xt::xtensor<float, 2> const&, Prompts const&, MaskChoice);
extern template Result<Masks> segment(OpenModel<variants::Sam<>> const&, xt::xtensor<float, 3> const&, Prompts const&, MaskChoice);
extern template Result<Embedding> embed(OpenModel<variants::Sam<>> const&, xt::xtensor<float, 2> const&);
extern template Result<Embedding> embed(OpenModel<variants::Sam<>> const&, xt::xtensor<float, 3> const&);
extern template Result<Masks> decode(OpenModel<variants::Sam<>> const&, Embedding const&, Prompts const&, MaskChoice);

}  // namespace samed
