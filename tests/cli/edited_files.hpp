// SPDX-License-Identifier: Apache-2.0
// Fixtures with one thing changed, written with the library's own writers.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <samed/io/checkpoint/pth.hpp>
#include <samed/io/checkpoint/pth_writer.hpp>
#include <samed/io/safetensors.hpp>
#include <samed/io/safetensors_writer.hpp>

namespace samed_cli {

struct NamedValues {
    std::string name;
    std::vector<std::int64_t> shape;
    std::vector<float> values;
};
using Tensors = std::vector<NamedValues>;

inline Tensors read_pth(std::string const& path) {
    auto const file = samed::Checkpoint::open(path);
    REQUIRE_MESSAGE(file.has_value(), (file ? "" : file.error().message()));
    Tensors out;
    for (auto const& t : file->tensors()) {
        NamedValues v{t.name, t.shape, std::vector<float>(static_cast<std::size_t>(t.count()))};
        REQUIRE(file->read_f32(t, v.values.data()).has_value());
        out.push_back(std::move(v));
    }
    return out;
}

inline void write_pth(std::string const& path, Tensors const& tensors) {
    std::vector<samed::CheckpointEntry> entries;
    for (NamedValues const& t : tensors) entries.push_back({t.name, t.shape, t.values.data()});
    auto const written = samed::write_checkpoint(path, entries);
    REQUIRE_MESSAGE(written.has_value(), (written ? "" : written.error().message()));
}

inline NamedValues& named(Tensors& tensors, std::string const& name) {
    auto const at = std::find_if(tensors.begin(), tensors.end(), [&](NamedValues const& t) { return t.name == name; });
    REQUIRE_MESSAGE(at != tensors.end(), name);
    return *at;
}

inline void erase_prefix(Tensors& tensors, std::string const& prefix) {
    auto const begins = [&](NamedValues const& t) { return t.name.compare(0, prefix.size(), prefix) == 0; };
    tensors.erase(std::remove_if(tensors.begin(), tensors.end(), begins), tensors.end());
}

inline std::string edit_pth(std::string const& from, std::string const& to, std::function<void(Tensors&)> const& change) {
    Tensors tensors = read_pth(from);
    change(tensors);
    write_pth(to, tensors);
    return to;
}

/// A tensor of a safetensors file as it is stored.
struct StoredTensor {
    std::string name;
    samed::DType dtype;
    std::vector<std::int64_t> shape;
    std::string bytes;
};
struct StoredFile {
    samed::Metadata metadata;
    std::vector<StoredTensor> tensors;

    StoredTensor& operator[](std::string const& name) {
        auto const at = std::find_if(tensors.begin(), tensors.end(), [&](StoredTensor const& t) { return t.name == name; });
        REQUIRE_MESSAGE(at != tensors.end(), name);
        return *at;
    }
};

inline StoredFile read_stored(std::string const& path) {
    auto const file = samed::Safetensors::open(path);
    REQUIRE_MESSAGE(file.has_value(), (file ? "" : file.error().message()));
    StoredFile out{file->metadata(), {}};
    for (auto const& t : file->tensors()) {
        StoredTensor s{t.name, t.dtype, t.shape, std::string(static_cast<std::size_t>(t.bytes), '\0')};
        REQUIRE(file->read_raw(t, 0, s.bytes.size(), s.bytes.data()).has_value());
        out.tensors.push_back(std::move(s));
    }
    return out;
}

inline std::string edit_safetensors(std::string const& from, std::string const& to, std::function<void(StoredFile&)> const& change) {
    StoredFile file = read_stored(from);
    change(file);
    std::vector<samed::SafetensorsEntry> entries;
    for (StoredTensor const& t : file.tensors) {
        samed::SafetensorsEntry e;
        e.name = t.name;
        e.dtype = t.dtype;
        e.shape = t.shape;
        e.stored = t.bytes.data();
        entries.push_back(std::move(e));
    }
    auto const written = samed::write_safetensors(to, file.metadata, entries);
    REQUIRE_MESSAGE(written.has_value(), (written ? "" : written.error().message()));
    return to;
}

/// A floating tensor of a safetensors file.
inline std::vector<float> read_values(std::string const& path, std::string const& name) {
    auto const file = samed::Safetensors::open(path);
    REQUIRE_MESSAGE(file.has_value(), (file ? "" : file.error().message()));
    auto const* t = file->find(name);
    REQUIRE_MESSAGE(t != nullptr, name);
    std::vector<float> out(static_cast<std::size_t>(t->count()));
    REQUIRE(file->read_f32(*t, 0, t->count(), out.data()).has_value());
    return out;
}

}  // namespace samed_cli
