// SPDX-License-Identifier: Apache-2.0
// A system of your own: SAMed with a learned gain on every channel of the attention's output, y[c] *= 1 + gain[c]. The adapter is one
// type, the variant another; the library stays as it is. The program turns a SAMed model into one of this system, with gains of 0 (the
// labels must not change) and with random ones (they must), where a training script would write what it learned.
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include <samed/io/safetensors_writer.hpp>
#include <samed/samed.hpp>

/// Reads `image_encoder.blocks.{i}.gain [C]`.
struct ChannelGain {
    using slots = samed::adapters::Slots<samed::adapters::slot::AttnOut>;

    static std::string tensor(int block) { return "image_encoder.blocks." + std::to_string(block) + ".gain"; }

    /// The gains of one block in the memory of backend C.
    template <class C>
    class Bound {
    public:
        using Scalar = typename C::Scalar;

        static samed::Result<Bound> bind(samed::WeightLoader<C>& loader, samed::adapters::BlockInfo const& block) {
            Bound b;
            b.width_ = block.width;
            SAMED_TRY(b.gain_, loader.vector(tensor(block.index), {block.width}));
            return b;
        }

        void attn_out(C& context, samed::adapters::GridInfo grid, Scalar* y) const {
            if (context.planning()) return;  // a pass that only measures memory: y is null
            for (int token = 0; token < grid.tokens(); ++token, y += width_)
                for (int c = 0; c < width_; ++c) y[c] *= 1 + gain_[c];
        }

    private:
        Scalar const* gain_ = nullptr;
        int width_ = 0;
    };
};

struct SamedWithGain : samed::Samed {
    static constexpr char name[] = "samed_with_gain";
    using AttnOut = ChannelGain;
};

namespace {

/// Copies a SAMed file, with gains of the given size added and the variant's name changed.
samed::Result<void> add_gains(samed::ModelFile const& model, float size, std::string const& path) {
    auto const& tensors = model.tensors();
    std::vector<std::vector<char>> bytes;
    std::vector<samed::SafetensorsEntry> entries;
    for (samed::TensorInfo const& info : tensors.tensors()) {
        auto& copy = bytes.emplace_back(static_cast<std::size_t>(info.count()) * samed::size_bytes(info.dtype));
        SAMED_CHECK(tensors.read_raw(info, 0, copy.size(), copy.data()));
        entries.push_back({info.name, info.dtype, info.shape, copy.data(), nullptr, nullptr});
    }
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-size, size);
    samed::VitConfig const& encoder = model.header().config.encoder;
    std::vector<std::vector<float>> gains;
    for (int block = 0; block < encoder.depth; ++block) {
        auto& gain = gains.emplace_back(encoder.width);
        for (float& g : gain) g = uniform(random);
        entries.push_back({ChannelGain::tensor(block), samed::DType::f32, {encoder.width}, nullptr, gain.data(), nullptr});
    }
    samed::Metadata metadata = tensors.metadata();
    metadata["samed.variant"] = SamedWithGain::name;
    return samed::write_safetensors(path, metadata, entries);
}

samed::Result<bool> run(std::string const& path, std::string const& out) {
    auto image = xt::xtensor<float, 2>::from_shape({96, 128});
    for (std::size_t i = 0; i < image.size(); ++i) image.data()[i] = static_cast<float>(i * i % 251);

    SAMED_TRY(samed::ModelFile const file, samed::ModelFile::open(path));
    SAMED_TRY(auto const plain, samed::open<samed::Samed>(path));
    SAMED_TRY(auto const expected, samed::segment(plain, image));

    bool right = true;
    for (float const size : {0.0f, 0.9f}) {
        SAMED_CHECK(add_gains(file, size, out));
        SAMED_TRY(auto const model, samed::open<SamedWithGain>(out));
        SAMED_TRY(auto const labels, samed::segment(model, image));
        int changed = 0;
        for (std::size_t i = 0; i < labels.size(); ++i) changed += labels.data()[i] != expected.data()[i];
        std::printf("gains within %.1f: %d of %zu labels changed\n", double{size}, changed, labels.size());
        right = right && (changed == 0) == (size == 0);
    }
    return right;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return std::fprintf(stderr, "usage: 06_custom_adapter MODEL OUTPUT\n"), 2;
    auto const right = run(argv[1], argv[2]);
    if (!right) return std::fprintf(stderr, "%s\n", right.error().message().c_str()), 2;
    return *right ? 0 : 1;
}
