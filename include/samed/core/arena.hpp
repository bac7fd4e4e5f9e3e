// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <samed/core/tensor.hpp>

namespace samed {

/// Stack of scratch arrays over one buffer. A forward pass opens a `Frame`, takes arrays, and gives all back at the frame's end.
///
/// A measuring arena hands out addresses that nobody may touch and records the peak: the same forward pass run on a
/// `PlanContext` tells the exact size of the real arena before the first image (see backend/plan_context.hpp).
class Arena {
public:
    static constexpr std::size_t alignment = 64;

    Arena() = default;

    static Arena measuring() {
        Arena a;
        a.base_ = reinterpret_cast<std::byte*>(std::uintptr_t{1} << 40);
        a.capacity_ = std::size_t{1} << 40;
        return a;
    }
    /// Over memory of somebody else, which may be a device's: the arena reads and writes none of it.
    static Arena over(std::byte* memory, std::size_t bytes) {
        Arena a;
        a.base_ = memory;
        a.capacity_ = bytes;
        return a;
    }
    /// @errors out_of_memory
    static Result<Arena> allocate(std::size_t bytes) {
        Arena a;
        SAMED_TRY(a.storage_, Buffer<std::byte>::allocate(bytes));
        a.base_ = a.storage_.data();
        a.capacity_ = bytes;
        return a;
    }

    /// `count` uninitialised elements, aligned to 64 bytes. Overflow is a bug of the plan, not of the input.
    template <class T>
    T* take(std::size_t count) {
        std::size_t const bytes = (count * sizeof(T) + alignment - 1) / alignment * alignment;
        SAMED_ASSERT(bytes <= capacity_ - used_);
        T* p = reinterpret_cast<T*>(base_ + used_);
        used_ += bytes;
        if (used_ > peak_) peak_ = used_;
        return p;
    }

    std::size_t used_bytes() const { return used_; }
    std::size_t peak_bytes() const { return peak_; }
    std::size_t capacity_bytes() const { return capacity_; }

    class Frame {
    public:
        explicit Frame(Arena& arena) : arena_(arena), mark_(arena.used_) {}
        ~Frame() { arena_.used_ = mark_; }
        Frame(Frame const&) = delete;
        Frame& operator=(Frame const&) = delete;

    private:
        Arena& arena_;
        std::size_t mark_;
    };

private:
    Buffer<std::byte> storage_;
    std::byte* base_ = nullptr;
    std::size_t capacity_ = 0, used_ = 0, peak_ = 0;
};

}  // namespace samed
