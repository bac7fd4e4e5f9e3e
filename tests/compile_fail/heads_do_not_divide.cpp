// SPDX-License-Identifier: Apache-2.0
// expect: HeadsDivideWidth
#include "system.hpp"

constexpr samed::VitConfig seven_heads() {
    samed::VitConfig c = samed::vit_b(512);
    c.heads = 7;
    return c;
}

template void open_door<samed::variants::Samed<samed::variants::samed_config(seven_heads(), 8)>>();
