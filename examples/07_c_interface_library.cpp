// SPDX-License-Identifier: Apache-2.0
#include <samed/samed_c_instance.hpp>
