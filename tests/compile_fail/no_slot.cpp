// SPDX-License-Identifier: Apache-2.0
// expect: HasSlots
#include "system.hpp"

struct System {
    static constexpr char name[] = "system";
    static constexpr samed::ModelConfig config{};
    static constexpr bool semantic = true;
};

template void open_door<System>();
