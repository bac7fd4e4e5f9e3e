// SPDX-License-Identifier: Apache-2.0
// Everything that an application needs to segment images:
//
//     auto model = samed::open<samed::Samed>("brain.safetensors");
//     auto labels = samed::segment(*model, image);
//
// Clicks and boxes: samed::Predictor; everything in an image: samed::AutomaticMaskGenerator.
// Volumes add segment_volume.hpp, several adapters on one base add segment_adapters.hpp. A program that does not know the variant of
// its files, or wants to compile in a moment, takes any_model.hpp instead.
#pragma once

#include <samed/automatic_mask_generator.hpp>
#include <samed/core/version.hpp>
#include <samed/predictor.hpp>
#include <samed/prompted_open_model.hpp>
#include <samed/segment.hpp>
#include <samed/variants/sam/sam.hpp>
#include <samed/variants/samed/samed.hpp>

namespace samed {

/// Segment Anything, every fact from the file.
using Sam = variants::Sam<>;

/// SAMed, every fact from the file.
using Samed = variants::Samed<>;

}  // namespace samed

// Set by samed_instantiate() for the targets that link its library.
#if defined(SAMED_EXTERN_SAM)
#include <samed/variants/sam/extern_templates.hpp>
#endif
#if defined(SAMED_EXTERN_SAMED)
#include <samed/variants/samed/extern_templates.hpp>
#endif
