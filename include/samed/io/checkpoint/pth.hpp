// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samed/io/checkpoint/state_dict.hpp>
#include <samed/io/checkpoint/zip.hpp>
#include <samed/io/elements.hpp>
#include <samed/io/file.hpp>

namespace samed {

/// A PyTorch checkpoint: a dict of names to tensors or parameters, as `torch.save` writes it (zip form since 1.6, and the older
/// form). The pickle is interpreted by an allow-list; nothing in it is ever executed. A dict inside {"model": ...} or
/// {"state_dict": ...} is found too. Const reads may run on any number of threads.
class Checkpoint {
public:
    /// Reads and checks the structure, no tensor data.
    /// @errors io_failure, truncated, bad_format, unsupported (names or opcodes outside the allow-list, compression, big endian), too_large
    static Result<Checkpoint> open(std::string path, CheckpointLimits limits = {}) {
        SAMED_TRY(File file, File::open(std::move(path)));
        auto state = read_state(file, limits);
        if (!state) return state.error().in(file.path());
        return Checkpoint(std::move(file), *std::move(state));
    }

    std::string const& path() const { return file_.path(); }
    File const& file() const { return file_; }
    /// By name.
    std::vector<CheckpointTensor> const& tensors() const { return state_.tensors(); }

    /// Null when there is no tensor of this name.
    CheckpointTensor const* find(std::string_view name) const {
        auto const at = std::lower_bound(tensors().begin(), tensors().end(), name,
                                         [](CheckpointTensor const& t, std::string_view n) { return t.name < n; });
        return at != tensors().end() && at->name == name ? &*at : nullptr;
    }

    /// The whole tensor, row-major, as f32 (integers too); the storage's CRC is checked.
    /// @param out  `tensor.count()` floats; undefined after an error
    /// @errors not_finite, bad_format (CRC), io_failure, truncated, out_of_memory
    /// @cost  contiguous: one pass over the file's bytes, no allocation; strided: a buffer of the view's span
    Result<void> read_f32(CheckpointTensor const& tensor, float* out) const {
        if (tensor.count() == 0) return {};
        auto const read = tensor.is_contiguous() ? read_contiguous(tensor, out) : read_strided(tensor, out);
        return read ? read : read.error().in(path());
    }

private:
    using Kind = PickleValue::Kind;
    static constexpr std::size_t piece_bytes = std::size_t{1} << 14;

    Checkpoint(File file, StateDict state)
        : file_(std::move(file)), state_(std::move(state)), verified_(std::make_unique<std::atomic<bool>[]>(state_.storages().size())) {}

    static Result<StateDict> read_state(File const& file, CheckpointLimits const& limits) {
        unsigned char start[4] = {};
        SAMED_CHECK(file.read_at(0, start, sizeof start));
        if (std::memcmp(start, "PK\3\4", sizeof start) == 0) return read_zip(file, limits);
        if (start[0] == 0x80) return read_legacy(file, limits);
        return fail(ErrorCode::bad_format, "checkpoint", "a file of torch.save (zip or pickle)", "other bytes at its start").at(0);
    }

    // --- zip form -------------------------------------------------------------------------------------------------------------

    static Result<StateDict> read_zip(File const& file, CheckpointLimits const& limits) {
        SAMED_TRY(ZipArchive const zip, ZipArchive::read(file));
        constexpr std::string_view pickle_name = "data.pkl";
        ZipEntry const* pickle = nullptr;
        for (ZipEntry const& e : zip.entries()) {
            std::size_t const slash = e.name.find('/');
            if (slash == std::string::npos || std::string_view(e.name).substr(slash + 1) != pickle_name) continue;
            if (pickle) return fail(ErrorCode::bad_format, e.name, "one data.pkl in the archive", "two").at(e.offset);
            pickle = &e;
        }
        if (!pickle) return fail(ErrorCode::bad_format, "data.pkl", "in a folder of the archive", "none");
        std::string const folder = pickle->name.substr(0, pickle->name.size() - pickle_name.size());
        if (ZipEntry const* order = zip.find(folder + "byteorder")) {
            SAMED_TRY(std::string const text, read_member(file, *order, 16));
            if (text != "little") return fail(ErrorCode::unsupported, order->name, "little", text).at(order->offset);
        }
        SAMED_TRY(std::string const bytes, read_member(file, *pickle, limits.pickle_bytes));
        auto const parsed = Pickle::read(bytes);
        if (!parsed) return parsed.error().at(pickle->offset + parsed.error().offset);
        if (parsed->bytes() != bytes.size())
            return fail(ErrorCode::bad_format, pickle->name, "nothing after the pickle").at(pickle->offset + parsed->bytes());
        SAMED_TRY(StateDict state, StateDict::read(*parsed, pickle->offset, file.size(), limits));
        for (CheckpointStorage& s : state.storages()) {
            std::string const name = folder + "data/" + s.key;
            ZipEntry const* data = zip.find(name);
            if (!data) return fail(ErrorCode::bad_format, name, "the data of a storage", "no such member");
            if (data->bytes != s.bytes())
                return fail(ErrorCode::bad_format, name, text() << s.bytes() << " bytes", text() << data->bytes).at(data->offset);
            s.offset = data->offset;
            s.crc = data->crc;
        }
        return state;
    }

    static Result<std::string> read_member(File const& file, ZipEntry const& e, std::uint64_t cap) {
        if (e.bytes > cap)
            return fail(ErrorCode::too_large, e.name, text() << "at most " << cap << " bytes", text() << e.bytes).at(e.offset);
        std::string bytes(static_cast<std::size_t>(e.bytes), '\0');
        SAMED_CHECK(file.read_at(e.offset, bytes.data(), bytes.size()));
        if (crc32(bytes.data(), bytes.size()) != e.crc) return fail(ErrorCode::bad_format, e.name, "bytes of the stored CRC").at(e.offset);
        return bytes;
    }

    // --- legacy form ----------------------------------------------------------------------------------------------------------
    // Five pickles (magic number, protocol, system, object, storage keys), then per key the number of elements and the data.

    static Result<StateDict> read_legacy(File const& file, CheckpointLimits const& limits) {
        std::uint64_t const cap = std::min(limits.pickle_bytes, file.size());
        // The pickles do not say how long they are: a small window first, a larger one when they go on behind it.
        for (std::uint64_t window = std::min(cap, std::uint64_t{1} << 20);; window = std::min(cap, window * 4)) {
            std::string bytes(static_cast<std::size_t>(window), '\0');
            SAMED_CHECK(file.read_at(0, bytes.data(), bytes.size()));
            auto state = read_legacy_pickles(file, bytes, limits);
            if (state || window == cap || state.error().code != ErrorCode::truncated) return state;
        }
    }

    static Result<StateDict> read_legacy_pickles(File const& file, std::string_view bytes, CheckpointLimits const& limits) {
        std::size_t at = 0;
        auto const next = [&]() -> Result<Pickle> {
            auto read = Pickle::read(bytes.substr(at));
            if (!read) return read.error().at(at + read.error().offset);
            at += read->bytes();
            return read;
        };
        SAMED_TRY(Pickle const magic, next());
        constexpr std::string_view magic_number = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
        if (magic.root().kind != Kind::long_integer || magic.text_of(magic.root()) != magic_number)
            return fail(ErrorCode::bad_format, "checkpoint", "the magic number of torch.save").at(0);
        SAMED_TRY(Pickle const protocol, next());
        if (protocol.root().kind != Kind::integer || protocol.root().integer != 1001)
            return fail(ErrorCode::unsupported, "checkpoint", "protocol version 1001").at(at);
        SAMED_TRY(Pickle const system, next());
        PickleValue const* little = system.find(system.root(), "little_endian");
        if (!little || little->kind != Kind::boolean || little->integer != 1)
            return fail(ErrorCode::unsupported, "little_endian", "True").at(at);
        std::size_t const object_at = at;
        SAMED_TRY(Pickle const object, next());
        SAMED_TRY(StateDict state, StateDict::read(object, object_at, file.size(), limits));
        SAMED_TRY(Pickle const keys, next());
        SAMED_CHECK(place_storages(file, keys, at, state));
        return state;
    }

    static Result<void> place_storages(File const& file, Pickle const& keys, std::uint64_t at, StateDict& state) {
        PickleValue const& list = keys.root();
        if (list.kind != Kind::list || keys.child_count(list) != state.storages().size())
            return fail(ErrorCode::bad_format, "storage keys", text() << "a list of " << state.storages().size()).at(at);
        for (std::size_t i = 0; i < state.storages().size(); ++i) {
            PickleValue const& key = keys.child(list, i);
            CheckpointStorage* const found = state.find_storage(key.kind == Kind::text ? keys.text_of(key) : "");
            if (!found || found->offset != 0) return fail(ErrorCode::bad_format, "storage keys", "every storage of the object once").at(at);
            CheckpointStorage& s = *found;
            std::int64_t elements = 0;
            SAMED_CHECK(file.read_at(at, &elements, sizeof elements));
            if (elements != s.elements)
                return fail(ErrorCode::bad_format, "storage " + s.key, text() << s.elements << " elements", text() << elements).at(at);
            s.offset = at + sizeof elements;
            if (s.bytes() > file.size() - s.offset)
                return fail(ErrorCode::truncated, "storage " + s.key, text() << s.bytes() << " bytes", text() << file.size() - s.offset)
                    .at(file.size());
            at = s.offset + s.bytes();
        }
        if (at != file.size()) return fail(ErrorCode::bad_format, "file length", text() << at, text() << file.size()).at(at);
        return {};
    }

    // --- tensor data ---------------------------------------------------------------------------------------------------------

    Error bad_crc(CheckpointStorage const& s) const {
        return fail(ErrorCode::bad_format, "storage " + s.key, "bytes of the stored CRC").at(s.offset);
    }

    /// Checks the CRC of a storage once, for reads that do not see all of it anyway.
    Result<void> verify(std::size_t storage) const {
        CheckpointStorage const& s = state_.storages()[storage];
        if (!s.crc || verified_[storage].load(std::memory_order_relaxed)) return {};
        alignas(64) std::byte piece[piece_bytes];
        std::uint32_t crc = 0;
        for (std::uint64_t at = 0; at < s.bytes();) {
            auto const now = static_cast<std::size_t>(std::min<std::uint64_t>(piece_bytes, s.bytes() - at));
            SAMED_CHECK(file_.read_at(s.offset + at, piece, now));
            crc = crc32(piece, now, crc);
            at += now;
        }
        if (crc != *s.crc) return bad_crc(s);
        verified_[storage].store(true, std::memory_order_relaxed);
        return {};
    }

    Result<void> read_contiguous(CheckpointTensor const& t, float* out) const {
        CheckpointStorage const& s = state_.storages()[t.storage];
        std::int64_t const count = t.count();
        bool const whole = count == s.elements;
        if (!whole) SAMED_CHECK(verify(t.storage));
        alignas(64) std::byte piece[piece_bytes];
        auto const element_bytes = static_cast<std::size_t>(size_bytes(t.dtype));
        std::uint32_t crc = 0;
        auto const end = static_cast<std::size_t>(count);
        for (std::size_t at = 0; at < end;) {
            std::size_t const now = std::min(piece_bytes / element_bytes, end - at);
            std::uint64_t const offset = s.offset + (static_cast<std::size_t>(t.offset) + at) * element_bytes;
            SAMED_CHECK(file_.read_at(offset, piece, now * element_bytes));
            if (whole && s.crc) crc = crc32(piece, now * element_bytes, crc);
            elements_to_f32(t.dtype, piece, now, out + at);
            if (std::size_t const i = detail::find_not_finite(out + at, now); i < now)
                return not_finite_at(t.name, at + i).at(offset + i * element_bytes);
            at += now;
        }
        if (whole && s.crc && crc != *s.crc) return bad_crc(s);
        return {};
    }

    Result<void> read_strided(CheckpointTensor const& t, float* out) const {
        SAMED_CHECK(verify(t.storage));
        CheckpointStorage const& s = state_.storages()[t.storage];
        auto const element_bytes = static_cast<std::size_t>(size_bytes(t.dtype));
        std::size_t span = 1;
        for (std::size_t axis = 0; axis < t.shape.size(); ++axis) span += static_cast<std::size_t>((t.shape[axis] - 1) * t.strides[axis]);
        SAMED_TRY(auto const stored, read_span(s.offset + static_cast<std::size_t>(t.offset) * element_bytes, span * element_bytes));
        std::vector<std::int64_t> index(t.shape.size());
        std::size_t const count = static_cast<std::size_t>(t.count());
        std::size_t from = 0;
        for (std::size_t i = 0; i < count; ++i) {
            elements_to_f32(t.dtype, stored.data() + from * element_bytes, 1, out + i);
            for (std::size_t axis = t.shape.size(); axis-- > 0;) {  // the next index, last axis first
                from += static_cast<std::size_t>(t.strides[axis]);
                if (++index[axis] < t.shape[axis]) break;
                from -= static_cast<std::size_t>(t.strides[axis] * t.shape[axis]);
                index[axis] = 0;
            }
        }
        if (std::size_t const i = detail::find_not_finite(out, count); i < count) return not_finite_at(t.name, i).at(s.offset);
        return {};
    }

    Result<Buffer<std::byte>> read_span(std::uint64_t offset, std::size_t bytes) const {
        SAMED_TRY(auto span, Buffer<std::byte>::allocate(bytes));
        SAMED_CHECK(file_.read_at(offset, span.data(), bytes));
        return span;
    }

    File file_;
    StateDict state_;
    std::unique_ptr<std::atomic<bool>[]> verified_;
};

}  // namespace samed
