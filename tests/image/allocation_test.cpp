// SPDX-License-Identifier: Apache-2.0
// Counts allocations of the whole program. In a file of its own: GCC warns where it can inline these into their callers.
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
std::size_t allocations = 0;
}

std::size_t allocation_count();
std::size_t allocation_count() {
    return allocations;
}

void* operator new(std::size_t bytes) {
    ++allocations;
    void* const memory = std::malloc(bytes);
    if (memory == nullptr) std::abort();
    return memory;
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
