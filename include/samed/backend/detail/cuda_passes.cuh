// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <samed/backend/detail/cuda_handles.cuh>
#include <samed/backend/host_memory.hpp>

namespace samed::detail {

/// What a recorded pass depends on: its key, and where in the arenas it begins.
struct PassPlace {
    PassKey key;
    std::size_t arena = 0, host_arena = 0;

    friend bool operator==(PassPlace const&, PassPlace const&) = default;
};

/// The passes that ran last, each with its graph once it has one.
class CudaPasses {
public:
    struct Pass {
        PassPlace place{};
        std::uint64_t used = 0;  ///< 0 = never ran
        CudaGraphExec graph{};
    };

    /// The pass of this place; one that is not here takes the place of the one that was used longest ago.
    /// @return and whether it ran before
    std::pair<Pass*, bool> at(PassPlace const& place) {
        auto pass = std::find_if(passes_.begin(), passes_.end(), [&](Pass const& p) { return p.used != 0 && p.place == place; });
        bool const known = pass != passes_.end();
        if (!known) {
            pass = std::min_element(passes_.begin(), passes_.end(), [](Pass const& a, Pass const& b) { return a.used < b.used; });
            pass->graph.reset();
            pass->place = place;
        }
        pass->used = ++clock_;
        return {&*pass, known};
    }

    void clear() { passes_ = {}; }

private:
    std::array<Pass, 8> passes_{};
    std::uint64_t clock_ = 0;
};

}  // namespace samed::detail
