// SPDX-License-Identifier: Apache-2.0
// compiles
#include "system.hpp"

struct System : samed::variants::Samed<> {};

template void open_door<System>();
