// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/any_model.hpp>
#include <samed/samed.hpp>
#include <samed/segment_adapters.hpp>
#if defined(WITH_IO)
#include <samed/io/image_file.hpp>
#include <samed/metrics/summary.hpp>
#include <samed/segment_volume.hpp>
#endif

int labelled_pixels(char const* path);
