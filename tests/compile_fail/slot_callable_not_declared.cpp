// SPDX-License-Identifier: Apache-2.0
// expect: MlpOutDeclaredAsCalled
#include "system.hpp"

struct Undeclared {
    using slots = samed::adapters::Slots<>;
    template <class C>
    struct Bound {
        static samed::Result<Bound> bind(samed::WeightLoader<C>&, samed::adapters::BlockInfo const&) { return Bound{}; }
        void mlp_out(C&, samed::adapters::GridInfo, typename C::Scalar const*, typename C::Scalar*) const {}
    };
};

struct System : samed::variants::Samed<> {
    using MlpOut = Undeclared;
};

template void open_door<System>();
