// SPDX-License-Identifier: Apache-2.0
#include <samed/any_model_instance.hpp>
