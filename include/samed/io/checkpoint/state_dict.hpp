// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samed/io/checkpoint/pickle.hpp>
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

/// The memory behind one or more tensors of a checkpoint.
struct CheckpointStorage {
    std::string key;
    DType dtype = DType::f32;
    std::int64_t elements = 0;
    std::uint64_t offset = 0;          ///< absolute in the file; 0 until the container says where
    std::optional<std::uint32_t> crc;  ///< the zip form has one

    std::uint64_t bytes() const { return static_cast<std::uint64_t>(elements) * static_cast<std::uint64_t>(size_bytes(dtype)); }
};

/// The tensors and storages that a pickled dict declares: every view is inside its storage, no name occurs twice.
class StateDict {
public:
    /// @param base        offset of the pickle in the file, for messages
    /// @param file_bytes  no storage can be larger
    /// @errors bad_format, unsupported (anything but plain tensors and parameters), truncated, too_large
    static Result<StateDict> read(Pickle const& pickle, std::uint64_t base, std::uint64_t file_bytes, CheckpointLimits const& limits) {
        StateDict state(file_bytes, limits);
        SAMED_CHECK(state.read_tensors(pickle, base));
        std::sort(state.tensors_.begin(), state.tensors_.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
        for (std::size_t i = 1; i < state.tensors_.size(); ++i)
            if (state.tensors_[i].name == state.tensors_[i - 1].name)
                return fail(ErrorCode::bad_format, state.tensors_[i].name, "every tensor once", "the name twice").at(base);
        SAMED_CHECK(state.check_total());
        return state;
    }

    /// By name.
    std::vector<CheckpointTensor> const& tensors() const { return tensors_; }
    std::vector<CheckpointStorage> const& storages() const { return storages_; }
    std::vector<CheckpointStorage>& storages() { return storages_; }
    CheckpointStorage* find_storage(std::string_view key) {
        auto const at = storage_of_key_.find(key);
        return at == storage_of_key_.end() ? nullptr : &storages_[at->second];
    }

private:
    using Kind = PickleValue::Kind;

    StateDict(std::uint64_t file_bytes, CheckpointLimits const& limits) : file_bytes_(file_bytes), limits_(limits) {}

    /// A thousand names for one large storage would make a small file cost the time of a large one.
    Result<void> check_total() const {
        std::int64_t stored = 0, viewed = 0;  // no overflow: a storage fits the file, a view its storage or the cap, 4096 of each
        for (CheckpointStorage const& s : storages_) stored += s.elements;
        for (CheckpointTensor const& t : tensors_) viewed += t.count();
        if (viewed > limits_.views * stored + limits_.expanded_elements)
            return fail(ErrorCode::too_large, "checkpoint",
                        text() << "at most " << limits_.views << " times the " << stored << " stored elements", text() << viewed);
        return {};
    }

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
            return fail(ErrorCode::too_large, "checkpoint", text() << "at most " << limits_.tensors << " tensors", text() << count)
                .at(base);
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
        if (arguments == 7 && p.child(*v, 6).kind != Kind::none &&
            (p.child(*v, 6).kind != Kind::dict || p.child_count(p.child(*v, 6)) != 0))
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
        std::int64_t const most = static_cast<std::int64_t>(file_bytes_) / size_bytes(dtype);
        if (elements.kind != Kind::integer || elements.integer < 0) return bad("a number of elements");
        if (elements.integer > most)
            return fail(ErrorCode::truncated, "tensor", text() << elements.integer << " elements in the file",
                        text() << "room for " << most);
        if (parts == 6 && p.child(id, 5).kind != Kind::none) return fail(ErrorCode::unsupported, "tensor", "a storage that is no view");

        auto const [at, added] = storage_of_key_.try_emplace(std::string(p.text_of(key)), storages_.size());
        if (added) storages_.push_back({at->first, dtype, elements.integer, 0, std::nullopt});
        CheckpointStorage const& s = storages_[at->second];
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
            return fail(ErrorCode::too_large, "tensor",
                        text() << "at most " << limits_.expanded_elements << " elements of an expanded view", shape_text(t.shape));
        return {};
    }

    std::uint64_t file_bytes_;
    CheckpointLimits limits_;
    std::vector<CheckpointTensor> tensors_;
    std::vector<CheckpointStorage> storages_;
    std::map<std::string, std::size_t, std::less<>> storage_of_key_;
};

}  // namespace samed
