// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samed/io/checkpoint/crc32.hpp>
#include <samed/io/file.hpp>
#include <samed/io/shape.hpp>
#include <samed/io/utf8.hpp>

namespace samed {

/// An f32 tensor to be written; `values` holds the product of `shape`.
struct CheckpointEntry {
    std::string name;
    std::vector<std::int64_t> shape;
    float const* values = nullptr;
};

namespace detail {

/// A pickle of protocol 2 with the opcodes that a dict of tensors needs.
class PickleWriter {
public:
    std::string take() && { return std::move(bytes_); }

    PickleWriter& raw(std::string_view opcodes) {
        bytes_ += opcodes;
        return *this;
    }
    PickleWriter& text(std::string_view value) { return raw("X").little(value.size(), 4).raw(value); }
    PickleWriter& integer(std::int64_t value) {
        auto const bits = static_cast<std::uint64_t>(value);
        if (value >= 0 && value <= INT32_MAX) return raw("J").little(bits, 4);
        return raw("\x8a\x08").little(bits, 8);
    }
    PickleWriter& tuple(std::vector<std::int64_t> const& values) {
        raw("(");
        for (std::int64_t v : values) integer(v);
        return raw("t");
    }

private:
    PickleWriter& little(std::uint64_t value, int bytes) {
        for (int i = 0; i < bytes; ++i) bytes_ += static_cast<char>(value >> (8 * i));
        return *this;
    }
    std::string bytes_;
};

/// A zip archive of stored members whose data lies at multiples of 64, as PyTorch writes it for mapping.
class ZipWriter {
public:
    explicit ZipWriter(AtomicFile& file) : file_(file) {}

    Result<void> add(std::string_view name, void const* data, std::uint64_t bytes) {
        constexpr std::size_t local_bytes = 30, pad_head_bytes = 4;
        std::uint64_t const start = file_.written();
        std::uint64_t const unpadded = start + local_bytes + name.size() + pad_head_bytes;
        std::size_t const padding = static_cast<std::size_t>((64 - unpadded % 64) % 64);
        // Without zip64 an offset has 32 bits; adapters are far below.
        if (bytes > UINT32_MAX / 2 || start > UINT32_MAX / 2)
            return fail(ErrorCode::too_large, name, "a checkpoint below 2 GiB").in(file_.path());
        std::string common;                                                // the fields that local header and directory share
        append(common, 0, 2), append(common, 0, 2), append(common, 0, 4);  // flags, stored, no time
        append(common, crc32(data, static_cast<std::size_t>(bytes)), 4);
        append(common, bytes, 4), append(common, bytes, 4), append(common, name.size(), 2);

        std::string local;
        append(local, 0x04034b50, 4), append(local, 10, 2);
        local += common;
        append(local, pad_head_bytes + padding, 2);
        local += name;
        local += "FB";  // PyTorch's own mark for padding
        append(local, padding, 2);
        local.append(padding, 'Z');

        append(directory_, 0x02014b50, 4), append(directory_, 0, 2), append(directory_, 10, 2);
        directory_ += common;
        append(directory_, 0, 2), append(directory_, 0, 2), append(directory_, 0, 2), append(directory_, 0, 2), append(directory_, 0, 4);
        append(directory_, start, 4);
        directory_ += name;
        ++members_;
        SAMED_CHECK(file_.write(local));
        return file_.write(data, static_cast<std::size_t>(bytes));
    }
    Result<void> finish() {
        std::uint64_t const start = file_.written();
        std::string end;
        append(end, 0x06054b50, 4), append(end, 0, 4);
        append(end, members_, 2), append(end, members_, 2), append(end, directory_.size(), 4), append(end, start, 4), append(end, 0, 2);
        SAMED_CHECK(file_.write(directory_));
        return file_.write(end);
    }

private:
    static void append(std::string& out, std::uint64_t value, int bytes) {
        for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
    }
    AtomicFile& file_;
    std::string directory_;
    std::size_t members_ = 0;
};

}  // namespace detail

/// Writes a checkpoint that `torch.load(path, weights_only=True)` opens as a dict of f32 tensors in the given order. The file
/// appears whole or not at all.
/// @errors io_failure, invalid_argument (a name twice or not UTF-8, a bad shape, no values), too_large (2 GiB, 4096 tensors)
inline Result<void> write_checkpoint(std::string const& path, std::vector<CheckpointEntry> const& entries) {
    if (entries.size() > 4096) return fail(ErrorCode::too_large, "tensors", "at most 4096", text() << entries.size()).in(path);
    std::set<std::string_view> names;
    detail::PickleWriter pickle;
    pickle.raw("\x80\x02}(");
    for (std::size_t i = 0; i < entries.size(); ++i) {
        CheckpointEntry const& e = entries[i];
        auto const refuse = [&](std::string_view expected) { return fail(ErrorCode::invalid_argument, e.name, expected).in(path); };
        auto const count = checked_count(e.shape);
        if (e.name.empty() || e.name.size() > 256 || !is_utf8(e.name)) return refuse("a name of 1 to 256 bytes in UTF-8");
        if (!names.insert(e.name).second) return refuse("every tensor once");
        if (!count || e.shape.size() > 8) return refuse("a shape of at most 8 axes whose product fits");
        if (*count > 0 && e.values == nullptr) return refuse("values");
        std::vector<std::int64_t> strides(e.shape.size());
        for (std::int64_t axis = static_cast<std::int64_t>(e.shape.size()), step = 1; axis-- > 0;) {
            auto const a = static_cast<std::size_t>(axis);
            strides[a] = step;
            step *= e.shape[a] > 0 ? e.shape[a] : 1;
        }
        pickle.text(e.name).raw("ctorch._utils\n_rebuild_tensor_v2\n((").text("storage").raw("ctorch\nFloatStorage\n");
        pickle.text(std::to_string(i)).text("cpu").integer(*count).raw("tQ").integer(0);
        pickle.tuple(e.shape).tuple(strides).raw(
            "\x89"
            "ccollections\nOrderedDict\n)RtR");
    }
    pickle.raw("u.");
    std::string const object = std::move(pickle).take();

    SAMED_TRY(auto file, AtomicFile::create(path));
    detail::ZipWriter zip(file);
    constexpr std::string_view order = "little", zip_version = "3\n";
    SAMED_CHECK(zip.add("archive/data.pkl", object.data(), object.size()));
    SAMED_CHECK(zip.add("archive/byteorder", order.data(), order.size()));
    for (std::size_t i = 0; i < entries.size(); ++i)
        SAMED_CHECK(zip.add("archive/data/" + std::to_string(i), entries[i].values,
                            static_cast<std::uint64_t>(*checked_count(entries[i].shape)) * sizeof(float)));
    SAMED_CHECK(zip.add("archive/version", zip_version.data(), zip_version.size()));
    SAMED_CHECK(zip.finish());
    return file.commit();
}

}  // namespace samed
