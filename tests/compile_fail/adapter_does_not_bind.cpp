// SPDX-License-Identifier: Apache-2.0
// expect: Binds
#include "system.hpp"

struct Loose {
    using slots = samed::adapters::Slots<>;
    template <class C>
    struct Bound {};
};

struct System : samed::variants::Samed<> {
    using MlpOut = Loose;
};

template void open_door<System>();
