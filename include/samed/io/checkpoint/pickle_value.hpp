// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include <samed/core/types.hpp>

namespace samed {

/// Every name that a pickle may mention. Nothing is imported or called: a name is only this number.
enum class PickleGlobal : std::uint8_t {
    ordered_dict,
    rebuild_tensor_v2,
    rebuild_parameter,
    size,
    float_storage,
    half_storage,
    bfloat16_storage,
    double_storage,
    long_storage,
    int_storage,
    short_storage,
    char_storage,
    byte_storage,
    bool_storage,
    untyped_storage,
};

/// Element type of a storage name, nothing for the other names.
constexpr std::optional<DType> storage_dtype(PickleGlobal global) {
    switch (global) {
        case PickleGlobal::float_storage: return DType::f32;
        case PickleGlobal::half_storage: return DType::f16;
        case PickleGlobal::bfloat16_storage: return DType::bf16;
        case PickleGlobal::double_storage: return DType::f64;
        case PickleGlobal::long_storage: return DType::i64;
        case PickleGlobal::int_storage: return DType::i32;
        case PickleGlobal::short_storage: return DType::i16;
        case PickleGlobal::char_storage: return DType::i8;
        case PickleGlobal::byte_storage:
        case PickleGlobal::untyped_storage: return DType::u8;
        case PickleGlobal::bool_storage: return DType::boolean;
        default: return std::nullopt;
    }
}

/// One value: a leaf, or a container whose children are numbers of other values (shared and even cyclic ones are possible).
struct PickleValue {
    enum class Kind : std::uint8_t {
        none,
        boolean,
        integer,
        text,
        number,        ///< a float; its value is of no use here and not kept
        long_integer,  ///< more than 8 bytes, kept as bytes
        tuple,
        list,
        dict,  ///< children: key, value, key, value ...
        global,
        call,        ///< children: the arguments of `global`, never called
        persistent,  ///< child: the id, a tuple for PyTorch
    };
    Kind kind = Kind::none;
    PickleGlobal global{};
    std::uint32_t offset = 0;           ///< byte of the opcode in the pickle
    std::uint32_t begin = 0, size = 0;  ///< text: bytes of the pickle; containers: number of the list of children in `begin`
    std::int64_t integer = 0;           ///< integer, boolean
};

}  // namespace samed
