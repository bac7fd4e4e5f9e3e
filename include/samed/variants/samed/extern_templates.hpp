// SPDX-License-Identifier: Apache-2.0
// What samed_instantiate(<target> VARIANT samed) compiles once. CMake turns this list into definitions.
#pragma once

#include <samed/segment.hpp>
#include <samed/variants/samed/samed.hpp>

namespace samed {

extern template Result<OpenModel<variants::Samed<>>> open(std::string const&, OpenOptions);
extern template Result<OpenModel<variants::Samed<>>> open(std::string const&, std::string const&, OpenOptions);
extern template Result<xt::xtensor<std::uint8_t, 2>> segment(OpenModel<variants::Samed<>> const&, xt::xtensor<float, 2> const&,
                                                             Prompts const&);
extern template Result<xt::xtensor<std::uint8_t, 2>> segment(OpenModel<variants::Samed<>> const&, xt::xtensor<float, 3> const&,
                                                             Prompts const&);
extern template Result<Embedding> embed(OpenModel<variants::Samed<>> const&, xt::xtensor<float, 2> const&);
extern template Result<Embedding> embed(OpenModel<variants::Samed<>> const&, xt::xtensor<float, 3> const&);
extern template Result<Masks> decode(OpenModel<variants::Samed<>> const&, Embedding const&, Prompts const&, MaskChoice);

}  // namespace samed
