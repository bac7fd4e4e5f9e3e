// SPDX-License-Identifier: Apache-2.0
// Inside a larger system that has its own memory and no exceptions: compiled with -fno-exceptions -fno-rtti. Pixels come from and
// labels go to the caller's buffers; after the first call nothing is allocated.
#include <cstdint>
#include <cstdio>
#include <vector>

#include <samed/backend/cpu_context.hpp>
#include <samed/model.hpp>
#include <samed/variants/samed/samed.hpp>

// A device that ships one model pins its facts, Samed<samed_config(vit_b(512), 8, 4)>: another file is then refused at load.
using Variant = samed::variants::Samed<>;

class Segmenter {
public:
    static samed::Result<Segmenter> load(char const* path) {
        Segmenter s;
        s.context_ = std::make_unique<samed::CpuContext>(2, samed::detect_isa());
        SAMED_TRY(samed::ModelFile const file, samed::ModelFile::open(path));
        SAMED_TRY(s.model_, (samed::Model<Variant, samed::CpuContext>::load(file, *s.context_)));
        s.workspace_ = std::make_unique<samed::Workspace<samed::CpuContext>>(*s.context_);
        return s;
    }

    /// @param frame  [height, width] grey
    /// @param labels [height, width]
    samed::Result<void> operator()(float const* frame, int height, int width, std::uint8_t* labels) {
        return model_.segment(samed::planar(frame, height, width), {labels, {height, width}}, *workspace_);
    }

private:
    std::unique_ptr<samed::CpuContext> context_;
    std::unique_ptr<samed::Workspace<samed::CpuContext>> workspace_;
    samed::Model<Variant, samed::CpuContext> model_;
};

int main(int argc, char** argv) {
    if (argc != 2) return std::fprintf(stderr, "usage: 03_embed_no_exceptions MODEL\n"), 2;
    auto segmenter = Segmenter::load(argv[1]);
    if (!segmenter) return std::fprintf(stderr, "%s\n", segmenter.error().message().c_str()), 2;

    constexpr int height = 120, width = 160;
    std::vector<float> frame(height * width);
    std::vector<std::uint8_t> labels(height * width);
    for (int number = 0; number < 3; ++number) {
        for (int i = 0; i < height * width; ++i) frame[i] = static_cast<float>((i * (number + 1)) % 256);
        if (auto const done = (*segmenter)(frame.data(), height, width, labels.data()); !done)
            return std::fprintf(stderr, "%s\n", done.error().message().c_str()), 2;
        int labelled = 0;
        for (std::uint8_t label : labels) labelled += label != 0;
        std::printf("frame %d: %d of %d pixels labelled\n", number, labelled, height * width);
    }
}
