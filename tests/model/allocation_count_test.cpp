// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "allocation_count.hpp"

#include <doctest/doctest.h>

namespace {
std::atomic<std::size_t> count{0};
}

std::size_t samed_test::allocations() {
    return count.load();
}

#if SAMED_TEST_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t n) noexcept {
    ++count;
    return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) noexcept {
    ++count;
    return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t n) noexcept {
    ++count;
    return __libc_realloc(p, n);
}
int posix_memalign(void** p, std::size_t alignment, std::size_t n) noexcept {
    ++count;
    *p = __libc_memalign(alignment, n);
    return *p ? 0 : 12;
}
void* aligned_alloc(std::size_t alignment, std::size_t n) noexcept {
    ++count;
    return __libc_memalign(alignment, n);
}
}

namespace {
void* volatile sink;  // what is stored here escapes: no compiler may drop the allocation
}

TEST_CASE("the counter sees new, malloc and posix_memalign") {
    std::size_t const before = samed_test::allocations();
    sink = ::operator new(1);
    ::operator delete(sink);
    CHECK(samed_test::allocations() - before == 1);
    sink = std::malloc(3);
    std::free(sink);
    CHECK(samed_test::allocations() - before == 2);
    void* aligned = nullptr;
    CHECK(posix_memalign(&aligned, 64, 100) == 0);
    std::free(aligned);
    CHECK(samed_test::allocations() - before == 3);
}
#endif
