// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <samed/any_model.hpp>
#include <samed/backend/fma_peak.hpp>
#include <samed/weights/model_file.hpp>

#include "run_option.hpp"
#include "self_test.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
    std::string model, adapter;
    AnyOptions run;
    int repeat = 0;
    bool json = false;
};

/// GFLOP (2 for a multiply-add) that one image needs: products of matrices and of queries with keys, on real tokens alone. A window's
/// padded keys count, since they take part in the softmax; padded queries, and QKV and proj of padded tokens, do not exist.
struct Work {
    double encoder = 0, decoder = 0;
};

Work work_of(ModelConfig const& config, int sparse_tokens) {
    VitConfig const& e = config.encoder;
    double const n = double(e.grid()) * e.grid(), c = e.width, k = e.neck_width;
    Work w;
    w.encoder = n * c * 3 * e.patch_size * e.patch_size;  // patch embedding
    for (int i = 0; i < e.depth; ++i) {
        double const side = e.is_global(i) ? e.grid() : e.window_size;
        w.encoder += n * c * 4 * c + 2 * n * c * e.mlp_width;  // qkv and proj, MLP
        w.encoder += 2 * n * side * side * c;                  // scores and values
        w.encoder += 2 * n * side * c;                         // queries with both position tables
    }
    w.encoder += n * c * k + n * k * k * 9;  // neck
    DecoderConfig const& d = config.decoder;
    double const tokens = 1 + d.mask_tokens + sparse_tokens, m = d.mask_tokens;
    auto const attention = [&](double queries, double keys, double inner) {
        return 2 * k * inner * (queries + keys) + 2 * queries * keys * inner;
    };
    for (int i = 0; i < d.depth; ++i)
        w.decoder +=
            attention(tokens, tokens, k) + attention(tokens, n, k / 2) + attention(n, tokens, k / 2) + 2 * tokens * k * d.mlp_width;
    w.decoder += attention(tokens, n, k / 2);                       // final attention
    w.decoder += 4 * n * k * (k / 4) + 16 * n * (k / 4) * (k / 8);  // upscaling
    w.decoder += m * (2 * k * k + k * k / 8) + 2 * k * k + k * m;   // hypernetworks, IoU head
    w.decoder += 16 * n * m * (k / 8);                              // masks
    w.encoder *= 2e-9;
    w.decoder *= 2e-9;
    return w;
}

struct Times {
    std::vector<double> ms;
    double min() const { return *std::min_element(ms.begin(), ms.end()); }
    double median() const {
        std::vector<double> sorted = ms;
        std::sort(sorted.begin(), sorted.end());
        std::size_t const middle = sorted.size() / 2;
        return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
    Json json() const { return {{"min", min()}, {"median", median()}}; }
};

/// Largest resident set of this program so far, loading included. Not getrusage: its figure survives exec, so a large parent's
/// would be taken for ours.
double peak_rss_mib() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.rfind("VmHWM:", 0) == 0) return std::strtod(line.c_str() + 6, nullptr) / 1024;
    return 0;
}

struct Answer {
    std::vector<float> embedding, logits;
    std::vector<std::uint8_t> labels;

    bool has_bits_of(Answer const& other) const {
        auto const same = [](auto const& a, auto const& b) { return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0; };
        return same(embedding, other.embedding) && same(logits, other.logits) && same(labels, other.labels);
    }
};

Result<Json> run(Options const& o) {
    using Clock = std::chrono::steady_clock;
    auto const milliseconds = [](Clock::time_point a, Clock::time_point b) {
        return std::chrono::duration<double, std::milli>(b - a).count();
    };
    SAMED_TRY(ModelFile const file, ModelFile::open(o.adapter.empty() ? o.model : o.adapter));
    auto const before_load = Clock::now();
    SAMED_TRY(AnyModel const model, open_model(o.model, o.adapter, o.run));
    double const load_ms = milliseconds(before_load, Clock::now());
    ModelSummary const& s = model.summary();
    std::size_t const side = static_cast<std::size_t>(s.image_size);
    std::vector<float> const input = seeded_input(selftest_seed, 3 * side * side);
    Answer answer{std::vector<float>(s.embedding_count()), std::vector<float>(s.semantic ? 0 : s.low_res_count()),
                  std::vector<std::uint8_t>(side * side)};

    Times encoder, decoder, total;
    Answer first;
    bool same_bits = true;
    bool const on_cpu = s.device.empty();
    ThreadPool pool(s.threads);
    Isa const isa = detect_isa();
    double peak = 0;
    auto const start = Clock::now();
    for (int i = 0;; ++i) {
        auto const a = Clock::now();
        SAMED_CHECK(model.encode(input.data(), answer.embedding.data()));
        auto const b = Clock::now();
        SAMED_CHECK(model.decode(answer.embedding.data(), answer.labels.data(), s.semantic ? nullptr : answer.logits.data()));
        auto const c = Clock::now();
        if (on_cpu) peak = std::max(peak, backend::fma_peak(pool, isa));  // between the images: the machine's speed changes with its load
        if (i == 0) {                                                     // warms up
            first = answer;
            continue;
        }
        same_bits = same_bits && answer.has_bits_of(first);
        encoder.ms.push_back(milliseconds(a, b));
        decoder.ms.push_back(milliseconds(b, c));
        total.ms.push_back(milliseconds(a, c));
        if (o.repeat > 0 ? i >= o.repeat : i >= 5 && (milliseconds(start, c) > 5000 || i >= 100)) break;
    }
    Work const work = work_of(file.header().config, s.semantic ? 0 : 2);
    double const gflop = work.encoder + work.decoder;
    Json out{{"model", o.model},
             {"variant", s.variant},
             {"image_size", s.image_size},
             {"threads", s.threads},
             {on_cpu ? "isa" : "device", on_cpu ? s.isa : s.device},
             {"runs", total.ms.size()},
             {"same_bits", same_bits},
             {"load_ms", load_ms},
             {"encoder_ms", encoder.json()},
             {"decoder_ms", decoder.json()},
             {"total_ms", total.json()},
             {"peak_rss_mib", peak_rss_mib()},
             {"weights_mib", static_cast<double>(s.weight_bytes) / 1048576},
             {"gflop", gflop},
             {"gflops", gflop / total.min() * 1e3}};
    if (on_cpu) out["fma_peak_gflops"] = peak * 1e-9;
    return out;
}

}  // namespace

void add_bench(CLI::App& app, int& code) {
    auto const o = std::make_shared<Options>();
    CLI::App* const c = app.add_subcommand("bench", "Time a model, from the network's input in memory to labels of its size");
    c->add_option("-m,--model", o->model, "model file, or the base of --adapter")->required();
    c->add_option("-a,--adapter", o->adapter, "adapter file");
    c->add_option("--repeat", o->repeat, "timed runs after one to warm up (default: 5 or more, for about 5 seconds)")
        ->check(CLI::Range(1, 100000));
    add_run_options(*c, o->run);
    c->add_flag("--json", o->json, "JSON on stdout");
    c->footer(
        "gflops = work really needed / fastest total; fma_peak_gflops = what registers alone reach on the same threads in the same run.\n"
        "same_bits = every run gave the bits of the first.\n"
        "Example:\n  samed bench -m model.safetensors --threads 2");
    c->callback([o, &code] {
        auto const result = run(*o);
        if (!result) {
            code = report(result.error());
            return;
        }
        code = exit_ok;
        if (o->json) {
            std::printf("%s\n", result->dump(2, ' ', false, Json::error_handler_t::replace).c_str());
            return;
        }
        for (auto const& [key, value] : result->items()) {
            if (value.is_object())
                std::printf("%-16s min %.2f, median %.2f\n", key.c_str(), value["min"].get<double>(), value["median"].get<double>());
            else if (value.is_number_float())
                std::printf("%-16s %.1f\n", key.c_str(), value.get<double>());
            else
                std::printf("%-16s %s\n", key.c_str(), value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
        }
    });
}

}  // namespace samed::tool
