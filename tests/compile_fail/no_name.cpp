// SPDX-License-Identifier: Apache-2.0
// expect: HasName
#include "system.hpp"

struct System : samed::sam::Defaults {};

template void open_door<System>();
