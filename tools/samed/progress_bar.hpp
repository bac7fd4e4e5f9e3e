// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace samed::tool {

/// A line on stderr with the time left, when that is a terminal; else nothing.
class ProgressBar {
public:
    ProgressBar();
    ~ProgressBar();
    ProgressBar(ProgressBar const&) = delete;
    ProgressBar& operator=(ProgressBar const&) = delete;

    void show(int done, int total);

private:
    std::chrono::steady_clock::time_point start_;
    bool terminal_, shown_ = false;
};

}  // namespace samed::tool
