// SPDX-License-Identifier: Apache-2.0
#include "progress_bar.hpp"

#include <cstdio>
#include <string>

#include <unistd.h>

namespace samed::tool {

ProgressBar::ProgressBar() : start_(std::chrono::steady_clock::now()), terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
    if (shown_) std::fputs("\r\033[K", stderr);
}

void ProgressBar::show(int done, int total) {
    if (!terminal_) return;
    shown_ = true;
    constexpr int width = 40;
    int const filled = static_cast<int>(static_cast<long long>(width) * done / total);
    double const elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    int const left = static_cast<int>(elapsed / done * (total - done) + 0.5);
    std::string const bar = std::string(static_cast<std::size_t>(filled), '#') + std::string(static_cast<std::size_t>(width - filled), '.');
    std::fprintf(stderr, "\r[%s] %d/%d, %d:%02d left\033[K", bar.c_str(), done, total, left / 60, left % 60);
    std::fflush(stderr);
}

}  // namespace samed::tool
