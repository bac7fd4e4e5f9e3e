// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

#include <samed/automatic_mask_generator.hpp>

namespace samed::tool {

/// COCO's compressed form: {"size": [h, w], "counts": "..."}.
nlohmann::json to_coco(Rle const& rle);

/// A record with the names of SAM's Python package.
nlohmann::json to_json(MaskRecord const& record);

}  // namespace samed::tool
