// SPDX-License-Identifier: Apache-2.0
// expect: HasGemm
#include "system.hpp"

struct Empty {
    using Scalar = float;
    struct Matrix {};
};

template samed::Result<samed::Model<samed::variants::Samed<>, Empty>> samed::Model<samed::variants::Samed<>, Empty>::load(
    samed::ModelFile const&, Empty&, samed::LoadOptions const&);
