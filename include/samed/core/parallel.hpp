// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <samed/core/macros.hpp>

namespace samed {

/// Runs `task(state, index, worker)` for every index in [0, tasks). An application may bring its own pool by implementing this.
/// `worker` is in [0, workers()); no two tasks run on one worker at the same time, so per-worker scratch needs no lock.
class Executor {
public:
    using Task = void (*)(void* state, int index, int worker);

    virtual ~Executor() = default;
    virtual int workers() const = 0;
    virtual void run(int tasks, Task task, void* state) = 0;
};

/// Everything on the calling thread.
class InlineExecutor final : public Executor {
public:
    int workers() const override { return 1; }
    void run(int tasks, Task task, void* state) override {
        for (int i = 0; i < tasks; ++i) task(state, i, 0);
    }
};

/// Fixed threads; the caller is worker 0 and takes part. Workers sleep between calls. Which worker runs which task is not
/// fixed, what a task computes must not depend on it.
class ThreadPool final : public Executor {
public:
    /// @param threads  1 or more, the caller included; 0 takes the machine's count
    explicit ThreadPool(int threads = 0) {
        if (threads <= 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
        for (int worker = 1; worker < threads; ++worker) threads_.emplace_back([this, worker] { serve(worker); });
    }
    ~ThreadPool() override {
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (auto& t : threads_) t.join();
    }
    ThreadPool(ThreadPool const&) = delete;
    ThreadPool& operator=(ThreadPool const&) = delete;

    int workers() const override { return static_cast<int>(threads_.size()) + 1; }

    void run(int tasks, Task task, void* state) override {
        if (threads_.empty() || tasks <= 1) {
            for (int i = 0; i < tasks; ++i) task(state, i, 0);
            return;
        }
        {
            std::lock_guard lock(mutex_);
            task_ = task;
            state_ = state;
            tasks_ = tasks;
            next_.store(0, std::memory_order_relaxed);
            busy_ = static_cast<int>(threads_.size());
            ++round_;
        }
        wake_.notify_all();
        drain(0);
        std::unique_lock lock(mutex_);
        done_.wait(lock, [this] { return busy_ == 0; });
    }

private:
    void drain(int worker) {
        for (;;) {
            int const index = next_.fetch_add(1, std::memory_order_relaxed);
            if (index >= tasks_) return;
            task_(state_, index, worker);
        }
    }
    void serve(int worker) {
        std::uint64_t seen = 0;
        for (;;) {
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [&] { return stopping_ || round_ != seen; });
                if (stopping_) return;
                seen = round_;
            }
            drain(worker);
            std::lock_guard lock(mutex_);
            if (--busy_ == 0) done_.notify_one();
        }
    }

    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::atomic<int> next_{0};
    Task task_ = nullptr;
    void* state_ = nullptr;
    int tasks_ = 0, busy_ = 0;
    std::uint64_t round_ = 0;
    bool stopping_ = false;
};

/// `parallel_for(executor, n, [&](int index, int worker) { ... });`
template <class F>
void parallel_for(Executor& executor, int tasks, F&& body) {
    using Body = std::remove_reference_t<F>;
    executor.run(
        tasks, [](void* state, int index, int worker) { (*static_cast<Body*>(state))(index, worker); },
        const_cast<std::remove_const_t<Body>*>(&body));
}

}  // namespace samed
