// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <samed/io/checkpoint/zip.hpp>
#include <samed/io/npy.hpp>

namespace samed {

/// One array of a `.npz` archive as numpy.savez writes it, members stored.
/// @param name  without ".npy"
/// @errors those of ZipArchive::read and read_npy; missing_tensor (no such array), unsupported (numpy.savez_compressed),
///         bad_format (a wrong checksum)
inline Result<NpyArray> read_npz(std::string path, std::string const& name, NpyLimits limits = {}) {
    SAMED_TRY(File const file, File::open(std::move(path)));
    SAMED_TRY(ZipArchive const zip, ZipArchive::read(file));
    ZipEntry const* const entry = zip.find(name + ".npy");
    if (entry == nullptr) return fail(ErrorCode::missing_tensor, name, "an array of this name", "none").in(file.path());
    std::uint32_t crc = 0;
    std::byte piece[1 << 14];
    for (std::uint64_t at = 0; at < entry->bytes;) {
        auto const bytes = static_cast<std::size_t>(std::min<std::uint64_t>(sizeof piece, entry->bytes - at));
        SAMED_CHECK(file.read_at(entry->offset + at, piece, bytes));
        crc = crc32(piece, bytes, crc);
        at += bytes;
    }
    if (crc != entry->crc) return fail(ErrorCode::bad_format, name, "bytes of the stored CRC", "others").in(file.path()).at(entry->offset);
    auto array = detail::read_npy({&file, entry->offset, entry->bytes}, limits);
    return array ? std::move(array) : array.error().in(file.path());
}

}  // namespace samed
