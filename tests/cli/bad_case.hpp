// SPDX-License-Identifier: Apache-2.0
// A bad input ends with exit code 2, a message that names the kind of error and the file, tensor or field, and no new file.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <samed/io/npy.hpp>

#include "command.hpp"
#include "edited_files.hpp"

namespace samed_cli {

using Arguments = std::vector<std::string>;

struct BadCase {
    std::string what;
    char const* code;     ///< name of the ErrorCode
    std::string mention;  ///< file, tensor or field
    Arguments arguments;
};

inline void check(BadCase const& bad, Folder const& folder) {
    CAPTURE(bad.what);
    auto const before = folder.names();
    Outcome const o = run_samed(bad.arguments);
    CAPTURE(o.err);
    CHECK(o.code == 2);
    CHECK(contains(o.err, std::string(bad.code) + ":"));
    CHECK(contains(o.err, bad.mention));
    CHECK(o.err.find('\n') == o.err.size() - 1);  // one line
    CHECK(folder.names() == before);
}

inline std::string const base_pth = golden("samed_resize/base.pth"), adapter_pth = golden("samed_resize/adapter.pth");

/// The valid files that the cases start from.
struct Files {
    Folder folder;
    std::string model, base, adapter, sam, plain;  // plain: without a self-test
    std::string grey, volume;

    Files() {
        model = convert("model.safetensors", {"--adapter", adapter_pth});
        adapter = convert("adapter.safetensors", {"--adapter", adapter_pth, "--adapter-only"});
        base = convert("base.safetensors", {});
        sam = golden("sam_prompts/model.safetensors");
        plain = golden("samed_resize/model.safetensors");
        std::vector<float> values(3 * 24 * 24, 0.5f);
        grey = array("grey.npy", {24, 24}, values);
        volume = array("volume.npy", {3, 24, 24}, values);
    }

    std::string operator/(std::string const& name) const { return folder / name; }
    std::string convert(std::string const& name, Arguments const& more) const {
        Arguments arguments{"convert", "--base", base_pth, "--image-size", "80", "--recipe", "none", "-o", folder / name};
        arguments.insert(arguments.end(), more.begin(), more.end());
        samed_ok(arguments);
        return folder / name;
    }
    std::string array(std::string const& name, std::vector<std::int64_t> const& shape, std::vector<float> const& values) const {
        REQUIRE(samed::write_npy(folder / name, shape, values.data()).has_value());
        return folder / name;
    }
    /// The first `bytes` of a file.
    std::string cut(std::string const& from, std::string const& name, std::size_t bytes) const {
        return folder.write(name, slurp(from).substr(0, bytes));
    }
    /// A file with bytes replaced.
    std::string patch(std::string const& from, std::string const& name, std::size_t at, std::string const& bytes) const {
        std::string whole = slurp(from);
        REQUIRE(at + bytes.size() <= whole.size());
        return folder.write(name, whole.replace(at, bytes.size(), bytes));
    }
    std::string pth(std::string const& from, std::string const& name, std::function<void(Tensors&)> const& change) const {
        return edit_pth(from, folder / name, change);
    }
    std::string stored(std::string const& from, std::string const& name, std::function<void(StoredFile&)> const& change) const {
        return edit_safetensors(from, folder / name, change);
    }
};

inline auto without(std::string const& prefix) {
    return [prefix](Tensors& t) { erase_prefix(t, prefix); };
}
inline auto value(std::string const& name, float v) {
    return [name, v](Tensors& t) { named(t, name).values[1] = v; };
}
inline auto reshaped(std::string const& name, std::vector<std::int64_t> const& shape) {
    return [name, shape](Tensors& t) {
        std::size_t count = 1;
        for (std::int64_t n : shape) count *= static_cast<std::size_t>(n);
        named(t, name).shape = shape;
        named(t, name).values.resize(count, 0.25f);
    };
}
inline auto added(std::string const& name, std::vector<std::int64_t> const& shape) {
    return [name, shape](Tensors& t) {
        t.push_back({name, shape, {}});
        reshaped(name, shape)(t);
    };
}
inline auto metadata(std::string const& key, std::string const& text) {
    return [key, text](StoredFile& f) { f.metadata[key] = text; };
}

inline constexpr float nan_value = std::numeric_limits<float>::quiet_NaN(), infinite = std::numeric_limits<float>::infinity();

}  // namespace samed_cli
