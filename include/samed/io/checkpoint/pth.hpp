// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samed/io/checkpoint/pickle.hpp>
#include <samed/io/checkpoint/zip.hpp>
#include <samed/io/elements.hpp>
#include <samed/io/file.hpp>
#include <samed/io/shape.hpp>

namespace samed {

/// Guards of memory and time against a hostile checkpoint.
struct CheckpointLimits {
    std::uint64_t pickle_bytes = std::uint64_t{64} << 20;
    std::size_t tensors = 4096;
    std::size_t name_bytes = 256;
    std::size_t rank = 8;
    std::int64_t expanded_elements = std::int64_t{1} << 22;  ///< of a view that has more elements than its storage
    std::int64_t views = 8;  ///< elements of all tensors together, as a multiple of what the storages hold (beside expanded views)
};

/// A view of a storage, as PyTorch saved it.
struct CheckpointTensor {
    std::string name;
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;  ///< in elements, 0 for expanded axes
    std::int64_t offset = 0;            ///< first element in the storage
    std::size_t storage = 0;            ///< tensors with the same number share memory

    std::int64_t count() const { return *checked_count(shape); }
    bool is_contiguous() const {
        std::int64_t expected = 1;
        for (std::size_t axis = shape.size(); axis-- > 0;) {
            if (shape[axis] == 1) continue;
            if (strides[axis] != expected) return false;
            expected *= shape[axis];
        }
        return true;
    }
};

/// A PyTorch checkpoint: a dict of names to tensors or parameters, as `torch.save` writes it (zip form since 1.6, and the older
/// form). The pickle is interpreted by an allow-list; nothing in it is ever executed. A dict inside {"model": ...} or
/// {"state_dict": ...} is found too. Const reads may run on any number of threads.
class Checkpoint {
public:
    /// Reads and checks the structure, no tensor data.
    /// @errors io_failure, truncated, bad_format, unsupported (names or opcodes outside the allow-list, compression, big endian), too_large
    static Result<Checkpoint> open(std::string path, CheckpointLimits limits = {}) {
        SAMED_TRY(File file, File::open(std::move(path)));
        Checkpoint c(std::move(file), limits);
        if (auto read = c.read_structure(); !read) return read.error().in(c.path());
        return c;
    }

    std::string const& path() const { return file_.path(); }
    File const& file() const { return file_; }
    /// By name.
    std::vector<CheckpointTensor> const& tensors() const { return tensors_; }

    /// Null when there is no tensor of this name.
    CheckpointTensor const* find(std::string_view name) const {
        auto const at = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                         [](CheckpointTensor const& t, std::string_view n) { return t.name < n; });
        return at != tensors_.end() && at->name == name ? &*at : nullptr;
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
    struct Storage {
        std::string key;
        DType dtype = DType::f32;
        std::int64_t elements = 0;
        std::uint64_t offset = 0;  // absolute; 0 until known
        std::optional<std::uint32_t> crc;
        std::uint64_t bytes() const { return static_cast<std::uint64_t>(elements) * static_cast<std::uint64_t>(size_bytes(dtype)); }
    };
    using Kind = PickleValue::Kind;
    static constexpr std::size_t piece_bytes = std::size_t{1} << 14;

    Checkpoint(File file, CheckpointLimits limits) : file_(std::move(file)), limits_(limits) {}

    Result<void> read_structure() {
        unsigned char start[4] = {};
        SAMED_CHECK(file_.read_at(0, start, sizeof start));
        if (std::memcmp(start, "PK\3\4", 4) == 0) {
            SAMED_CHECK(read_zip());
        } else if (start[0] == 0x80) {
            SAMED_CHECK(read_legacy());
        } else {
            return fail(ErrorCode::bad_format, "checkpoint", "a file of torch.save (zip or pickle)", "other bytes at its start").at(0);
        }
        std::sort(tensors_.begin(), tensors_.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
        for (std::size_t i = 1; i < tensors_.size(); ++i)
            if (tensors_[i].name == tensors_[i - 1].name)
                return fail(ErrorCode::bad_format, tensors_[i].name, "every tensor once", "the name twice");
        verified_ = std::make_unique<std::atomic<bool>[]>(storages_.size());
        return check_total();
    }

    /// A thousand names for one large storage would make a small file cost the time of a large one.
    Result<void> check_total() const {
        std::int64_t stored = 0, viewed = 0;  // no overflow: a storage fits the file, a view its storage or the cap, 4096 of each
        for (Storage const& s : storages_) stored += s.elements;
        for (CheckpointTensor const& t : tensors_) viewed += t.count();
        if (viewed > limits_.views * stored + limits_.expanded_elements)
            return fail(ErrorCode::too_large, "checkpoint", text() << "at most " << limits_.views << " times the " << stored << " stored elements",
                        text() << viewed);
        return {};
    }

    // --- zip form -------------------------------------------------------------------------------------------------------------

    Result<void> read_zip() {
        SAMED_TRY(ZipArchive const zip, ZipArchive::read(file_));
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
            SAMED_TRY(std::string const text, read_member(*order, 16));
            if (text != "little") return fail(ErrorCode::unsupported, order->name, "little", text).at(order->offset);
        }
        SAMED_TRY(std::string const bytes, read_member(*pickle, limits_.pickle_bytes));
        auto const parsed = Pickle::read(bytes);
        if (!parsed) return parsed.error().at(pickle->offset + parsed.error().offset);
        if (parsed->bytes() != bytes.size())
            return fail(ErrorCode::bad_format, pickle->name, "nothing after the pickle").at(pickle->offset + parsed->bytes());
        SAMED_CHECK(read_tensors(*parsed, pickle->offset));
        for (Storage& s : storages_) {
            std::string const name = folder + "data/" + s.key;
            ZipEntry const* data = zip.find(name);
            if (!data) return fail(ErrorCode::bad_format, name, "the data of a storage", "no such member");
            if (data->bytes != s.bytes())
                return fail(ErrorCode::bad_format, name, text() << s.bytes() << " bytes", text() << data->bytes).at(data->offset);
            s.offset = data->offset;
            s.crc = data->crc;
        }
        return {};
    }

    Result<std::string> read_member(ZipEntry const& e, std::uint64_t cap) const {
        if (e.bytes > cap) return fail(ErrorCode::too_large, e.name, text() << "at most " << cap << " bytes", text() << e.bytes).at(e.offset);
        std::string bytes(static_cast<std::size_t>(e.bytes), '\0');
        SAMED_CHECK(file_.read_at(e.offset, bytes.data(), bytes.size()));
        if (crc32(bytes.data(), bytes.size()) != e.crc) return fail(ErrorCode::bad_format, e.name, "bytes of the stored CRC").at(e.offset);
        return bytes;
    }

    // --- legacy form ----------------------------------------------------------------------------------------------------------
    // Five pickles (magic number, protocol, system, object, storage keys), then per key the number of elements and the data.

    Result<void> read_legacy() {
        std::uint64_t const cap = std::min(limits_.pickle_bytes, file_.size());
        for (std::uint64_t window = std::min(cap, std::uint64_t{1} << 20);; window = std::min(cap, window * 4)) {
            std::string bytes(static_cast<std::size_t>(window), '\0');
            SAMED_CHECK(file_.read_at(0, bytes.data(), bytes.size()));
            auto const read = read_legacy_pickles(bytes);
            if (read || window == cap || read.error().code != ErrorCode::truncated) return read;
            tensors_.clear();
            storages_.clear();
            storage_of_key_.clear();
        }
    }

    Result<void> read_legacy_pickles(std::string_view bytes) {
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
        SAMED_CHECK(read_tensors(object, object_at));
        SAMED_TRY(Pickle const keys, next());
        return place_storages(keys, at);
    }

    Result<void> place_storages(Pickle const& keys, std::uint64_t at) {
        PickleValue const& list = keys.root();
        if (list.kind != Kind::list || keys.child_count(list) != storages_.size())
            return fail(ErrorCode::bad_format, "storage keys", text() << "a list of " << storages_.size()).at(at);
        for (std::size_t i = 0; i < storages_.size(); ++i) {
            PickleValue const& key = keys.child(list, i);
            auto const known = storage_of_key_.find(key.kind == Kind::text ? keys.text_of(key) : "");
            if (known == storage_of_key_.end() || storages_[known->second].offset != 0)
                return fail(ErrorCode::bad_format, "storage keys", "every storage of the object once").at(at);
            Storage& s = storages_[known->second];
            std::int64_t elements = 0;
            SAMED_CHECK(file_.read_at(at, &elements, sizeof elements));
            if (elements != s.elements)
                return fail(ErrorCode::bad_format, "storage " + s.key, text() << s.elements << " elements", text() << elements).at(at);
            s.offset = at + sizeof elements;
            if (s.bytes() > file_.size() - s.offset)
                return fail(ErrorCode::truncated, "storage " + s.key, text() << s.bytes() << " bytes", text() << file_.size() - s.offset)
                    .at(file_.size());
            at = s.offset + s.bytes();
        }
        if (at != file_.size()) return fail(ErrorCode::bad_format, "file length", text() << at, text() << file_.size()).at(at);
        return {};
    }

    // --- pickled values to tensors ------------------------------------------------------------------------------------------

    static bool is_call(PickleValue const& v, PickleGlobal global) { return v.kind == Kind::call && v.global == global; }
    static bool is_tensor(PickleValue const& v) {
        return is_call(v, PickleGlobal::rebuild_tensor_v2) || is_call(v, PickleGlobal::rebuild_parameter);
    }

    /// The dict of tensors: the root itself, or the member "model" or "state_dict" of a root without tensors.
    static PickleValue const* find_state(Pickle const& p) {
        PickleValue const& root = p.root();
        if (root.kind != Kind::dict) return nullptr;
        for (std::size_t i = 1; i < p.child_count(root); i += 2)
            if (is_tensor(p.child(root, i))) return &root;
        for (std::string_view key : {"model", "state_dict"})
            if (PickleValue const* inner = p.find(root, key); inner && inner->kind == Kind::dict) return inner;
        return nullptr;
    }

    /// @param base  offset of the pickle in the file
    Result<void> read_tensors(Pickle const& p, std::uint64_t base) {
        PickleValue const* state = find_state(p);
        if (!state) return fail(ErrorCode::unsupported, "checkpoint", "a dict of tensors").at(base + p.root().offset);
        std::size_t const count = p.child_count(*state) / 2;
        if (count > limits_.tensors)
            return fail(ErrorCode::too_large, "checkpoint", text() << "at most " << limits_.tensors << " tensors", text() << count).at(base);
        for (std::size_t i = 0; i < count; ++i) {
            PickleValue const& key = p.child(*state, 2 * i);
            if (key.kind != Kind::text || key.size == 0 || key.size > limits_.name_bytes)
                return fail(ErrorCode::bad_format, "tensor name", text() << "a text of 1 to " << limits_.name_bytes << " bytes")
                    .at(base + key.offset);
            CheckpointTensor tensor;
            tensor.name = p.text_of(key);
            PickleValue const& value = p.child(*state, 2 * i + 1);
            if (auto read = read_tensor(p, value, tensor); !read) {
                Error e = read.error();
                e.where = tensor.name;
                return e.at(base + value.offset);
            }
            tensors_.push_back(std::move(tensor));
        }
        return {};
    }

    static Error bad(FixedText<160> expected, FixedText<160> found = {}) { return fail(ErrorCode::bad_format, "tensor", expected, found); }

    Result<void> read_tensor(Pickle const& p, PickleValue const& value, CheckpointTensor& t) {
        PickleValue const* v = &value;
        if (is_call(*v, PickleGlobal::rebuild_parameter)) {
            if (p.child_count(*v) != 3) return bad("a parameter of three arguments");
            v = &p.child(*v, 0);
        }
        if (!is_call(*v, PickleGlobal::rebuild_tensor_v2)) return fail(ErrorCode::unsupported, "tensor", "a tensor or a parameter");
        std::size_t const arguments = p.child_count(*v);
        if (arguments != 6 && arguments != 7) return bad("a tensor of six or seven arguments", text() << arguments);
        // The seventh holds marks such as "conjugate" that would change the values.
        if (arguments == 7 && p.child(*v, 6).kind != Kind::none && (p.child(*v, 6).kind != Kind::dict || p.child_count(p.child(*v, 6)) != 0))
            return fail(ErrorCode::unsupported, "tensor", "no tensor metadata");
        SAMED_CHECK(read_storage(p, p.child(*v, 0), t));
        PickleValue const& offset = p.child(*v, 1);
        if (offset.kind != Kind::integer || offset.integer < 0) return bad("a storage offset from 0");
        t.offset = offset.integer;
        SAMED_CHECK(read_sizes(p, p.child(*v, 2), t.shape));
        SAMED_CHECK(read_sizes(p, p.child(*v, 3), t.strides));
        return check_view(t);
    }

    Result<void> read_sizes(Pickle const& p, PickleValue const& value, std::vector<std::int64_t>& out) const {
        PickleValue const& v = is_call(value, PickleGlobal::size) && p.child_count(value) == 1 ? p.child(value, 0) : value;
        if (v.kind != Kind::tuple) return bad("a tuple of sizes");
        if (p.child_count(v) > limits_.rank)
            return fail(ErrorCode::too_large, "tensor", text() << "at most " << limits_.rank << " axes", text() << p.child_count(v));
        for (std::size_t i = 0; i < p.child_count(v); ++i) {
            PickleValue const& size = p.child(v, i);
            if (size.kind != Kind::integer || size.integer < 0) return bad("sizes and strides from 0");
            out.push_back(size.integer);
        }
        return {};
    }

    /// A persistent id: ("storage", type, key, location, elements [, None]).
    Result<void> read_storage(Pickle const& p, PickleValue const& value, CheckpointTensor& t) {
        if (value.kind != Kind::persistent) return bad("a storage");
        PickleValue const& id = p.child(value, 0);
        std::size_t const parts = p.child_count(id);
        if (id.kind != Kind::tuple || (parts != 5 && parts != 6)) return bad("a storage id of five or six parts");
        PickleValue const &word = p.child(id, 0), &type = p.child(id, 1), &key = p.child(id, 2), &elements = p.child(id, 4);
        auto const known = type.kind == Kind::global ? storage_dtype(type.global) : std::nullopt;
        if (word.kind != Kind::text || p.text_of(word) != "storage" || !known) return bad("\"storage\" and its type");
        DType const dtype = known.value_or(DType::f32);  // GCC 12 cannot see at -O1 that it has one
        if (key.kind != Kind::text || key.size == 0 || key.size > 64) return bad("a storage key of 1 to 64 bytes");
        std::int64_t const most = static_cast<std::int64_t>(file_.size()) / size_bytes(dtype);
        if (elements.kind != Kind::integer || elements.integer < 0) return bad("a number of elements");
        if (elements.integer > most)
            return fail(ErrorCode::truncated, "tensor", text() << elements.integer << " elements in the file", text() << "room for " << most);
        if (parts == 6 && p.child(id, 5).kind != Kind::none) return fail(ErrorCode::unsupported, "tensor", "a storage that is no view");

        auto const [at, added] = storage_of_key_.try_emplace(std::string(p.text_of(key)), storages_.size());
        if (added) storages_.push_back({at->first, dtype, elements.integer, 0, std::nullopt});
        Storage const& s = storages_[at->second];
        if (s.dtype != dtype || s.elements != elements.integer)
            return bad(text() << "storage " << s.key << " of one type and size", text() << name(dtype) << " x " << elements.integer);
        t.storage = at->second;
        t.dtype = dtype;
        return {};
    }

    /// Every element of the view lies in its storage.
    Result<void> check_view(CheckpointTensor const& t) const {
        if (t.shape.size() != t.strides.size()) return bad("as many strides as sizes");
        std::int64_t const elements = storages_[t.storage].elements;
        std::optional<std::int64_t> const count = checked_count(t.shape);
        if (!count) return fail(ErrorCode::too_large, "tensor", "a product of sizes below 2^62", shape_text(t.shape));
        if (t.offset > elements) return bad(text() << "a view of " << elements << " elements", text() << "offset " << t.offset);
        if (*count == 0) return {};
        std::int64_t room = elements - t.offset - 1;
        for (std::size_t axis = 0; axis < t.shape.size(); ++axis) {
            std::int64_t const steps = t.shape[axis] - 1;
            // Division instead of a product: sizes and strides come from the file and may be anything.
            if (steps > 0 && t.strides[axis] > room / steps) room = -1;
            if (room < 0) break;
            room -= steps * t.strides[axis];
        }
        if (room < 0) return bad(text() << "a view inside " << elements << " elements", shape_text(t.shape));
        if (*count > elements && *count > limits_.expanded_elements)
            return fail(ErrorCode::too_large, "tensor", text() << "at most " << limits_.expanded_elements << " elements of an expanded view",
                        shape_text(t.shape));
        return {};
    }

    // --- tensor data ---------------------------------------------------------------------------------------------------------

    Error bad_crc(Storage const& s) const {
        return fail(ErrorCode::bad_format, "storage " + s.key, "bytes of the stored CRC").at(s.offset);
    }

    /// Checks the CRC of a storage once, for reads that do not see all of it anyway.
    Result<void> verify(std::size_t storage) const {
        Storage const& s = storages_[storage];
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
        Storage const& s = storages_[t.storage];
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
        Storage const& s = storages_[t.storage];
        auto const element_bytes = static_cast<std::size_t>(size_bytes(t.dtype));
        std::size_t span = 1;
        for (std::size_t axis = 0; axis < t.shape.size(); ++axis) span += static_cast<std::size_t>((t.shape[axis] - 1) * t.strides[axis]);
        SAMED_TRY(auto const stored, read_span(s.offset + static_cast<std::size_t>(t.offset) * element_bytes, span * element_bytes));
        std::int64_t index[8] = {};
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
    CheckpointLimits limits_;
    std::vector<CheckpointTensor> tensors_;
    std::vector<Storage> storages_;
    std::map<std::string, std::size_t, std::less<>> storage_of_key_;
    std::unique_ptr<std::atomic<bool>[]> verified_;
};

}  // namespace samed
