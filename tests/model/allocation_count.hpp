// SPDX-License-Identifier: Apache-2.0
// Counts every heap allocation of the process through the C library's own entry points.
#pragma once

#include <atomic>
#include <cstddef>

#ifndef SAMED_TEST_COUNTS_ALLOCATIONS
#define SAMED_TEST_COUNTS_ALLOCATIONS 1
#if !defined(__GLIBC__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef SAMED_TEST_COUNTS_ALLOCATIONS
#define SAMED_TEST_COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef SAMED_TEST_COUNTS_ALLOCATIONS
#define SAMED_TEST_COUNTS_ALLOCATIONS 0
#endif
#endif
#endif

namespace samed_test {
/// Allocations so far, on all threads.
std::size_t allocations();
}  // namespace samed_test
