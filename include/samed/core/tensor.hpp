// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <samed/core/result.hpp>

namespace samed {

/// Owning array of trivial elements, 64-byte aligned, uninitialised. Large ones sit on huge pages where the system grants them:
/// weights are streamed once per image and would otherwise miss the TLB.
template <class T>
class Buffer {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

public:
    static constexpr std::size_t alignment = 64;

    Buffer() = default;

    /// @errors out_of_memory
    static Result<Buffer> allocate(std::size_t count) {
        Buffer b;
        if (count == 0) return b;
        constexpr std::size_t huge_page = std::size_t{2} << 20;
        if (count > (SIZE_MAX - huge_page) / sizeof(T)) return no_memory(count);
        std::size_t const wanted = count * sizeof(T);
        std::size_t const align = wanted >= 2 * huge_page ? huge_page : alignment;
        std::size_t const bytes = (wanted + alignment - 1) / alignment * alignment;
        void* p = nullptr;
        if (::posix_memalign(&p, align, bytes) != 0 || p == nullptr) return no_memory(count);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (align == huge_page) ::madvise(p, bytes / huge_page * huge_page, MADV_HUGEPAGE);
#endif
        b.data_.reset(static_cast<T*>(p));
        b.size_ = count;
        return b;
    }

    T* data() { return data_.get(); }
    T const* data() const { return data_.get(); }
    std::size_t size() const { return size_; }
    std::size_t size_in_bytes() const { return size_ * sizeof(T); }
    T& operator[](std::size_t i) { return data_[i]; }
    T const& operator[](std::size_t i) const { return data_[i]; }
    T* begin() { return data(); }
    T* end() { return data() + size_; }
    T const* begin() const { return data(); }
    T const* end() const { return data() + size_; }

private:
    struct Free {
        void operator()(T* p) const { std::free(p); }
    };
    static Error no_memory(std::size_t count) {
        return fail(ErrorCode::out_of_memory, "buffer", text() << count * sizeof(T) << " bytes", "allocation refused");
    }

    std::unique_ptr<T[], Free> data_;
    std::size_t size_ = 0;
};

}  // namespace samed
