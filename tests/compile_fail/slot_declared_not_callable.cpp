// SPDX-License-Identifier: Apache-2.0
// expect: AttnOutDeclaredAsCalled
#include "system.hpp"

// The member function is misspelt.
struct Misspelt {
    using slots = samed::adapters::Slots<samed::adapters::slot::AttnOut>;
    template <class C>
    struct Bound {
        static samed::Result<Bound> bind(samed::WeightLoader<C>&, samed::adapters::BlockInfo const&) { return Bound{}; }
        void attention_out(C&, samed::adapters::GridInfo, typename C::Scalar*) const {}
    };
};

struct System : samed::variants::Samed<> {
    using AttnOut = Misspelt;
};

template void open_door<System>();
