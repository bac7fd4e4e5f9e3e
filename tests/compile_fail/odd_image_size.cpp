// SPDX-License-Identifier: Apache-2.0
// expect: ImageSizeFitsPatches
#include "system.hpp"

template void open_door<samed::variants::Samed<samed::variants::samed_config(samed::vit_b(500), 8)>>();
