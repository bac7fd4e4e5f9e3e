// SPDX-License-Identifier: Apache-2.0
// Two models at work at the same time, each also shared by two threads. An opened model is constant: calls need no lock, each takes a
// context of its own from the model's free list. The program checks that every thread got the labels of a lone call.
#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include <samed/samed.hpp>

int main(int argc, char** argv) {
    if (argc != 3) return std::fprintf(stderr, "usage: 05_two_models_two_threads MODEL MODEL\n"), 2;
    samed::OpenOptions options;
    options.threads = 1;  // inside one call; here the calls themselves run side by side
    auto const first = samed::open<samed::Samed>(argv[1], options), second = samed::open<samed::Samed>(argv[2], options);
    for (auto const* model : {&first, &second})
        if (!*model) return std::fprintf(stderr, "%s\n", model->error().message().c_str()), 2;

    auto image = xt::xtensor<float, 2>::from_shape({96, 128});
    for (std::size_t i = 0; i < image.size(); ++i) image.data()[i] = static_cast<float>(i % 128 + i / 128);

    std::atomic<int> different = 0;
    std::vector<std::thread> threads;
    for (auto const* model : {&first, &second}) {
        auto const expected = samed::segment(**model, image).value();
        for (int i = 0; i < 2; ++i)
            threads.emplace_back([&different, &image, model, expected] {
                for (int call = 0; call < 3; ++call) different += samed::segment(**model, image).value() != expected;
            });
    }
    for (std::thread& t : threads) t.join();
    std::printf("12 calls on 4 threads, %d differ from a lone call\n", different.load());
    return different != 0;
}
