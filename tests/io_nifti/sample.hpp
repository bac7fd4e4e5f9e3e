// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <algorithm>
#include <bit>
#include <iterator>
#include <string>

#include <unistd.h>
#include <zlib.h>

namespace nifti_test {

/// Folder that disappears with the test case.
struct Folder {
    std::filesystem::path path;
    Folder() {
        static int count = 0;
        path = std::filesystem::temp_directory_path() / ("samed-nifti-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
        std::filesystem::create_directories(path);
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string file(std::string const& name) const { return (path / name).string(); }
    std::string write(std::string const& name, std::string const& bytes) const {
        std::ofstream(file(name), std::ios::binary) << bytes;
        return file(name);
    }
    std::size_t files() const {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path), std::filesystem::directory_iterator()));
    }
};

inline std::string read_file(std::string const& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// One gzip member, by zlib itself.
inline std::string gzipped(std::string const& bytes, int level = 6) {
    ::z_stream s{};
    ::deflateInit2(&s, level, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    std::string out(::deflateBound(&s, bytes.size()) + 64, '\0');
    s.next_in = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
    s.avail_in = static_cast<::uInt>(bytes.size());
    s.next_out = reinterpret_cast<unsigned char*>(out.data());
    s.avail_out = static_cast<::uInt>(out.size());
    ::deflate(&s, Z_FINISH);
    out.resize(s.total_out);
    ::deflateEnd(&s);
    return out;
}

/// Bytes of a NIfTI file, field by field at the offsets of nifti1.h and nifti2.h.
struct Sample {
    int version = 1;
    bool big_endian = false;
    std::string bytes;

    Sample(int v, bool big, int nx, int ny, int nz, int datatype, int bitpix) : version(v), big_endian(big) {
        bytes.assign(v == 1 ? 352 : 544, '\0');
        put<std::int32_t>(0, v == 1 ? 348 : 540);
        if (v == 1) bytes.replace(344, 4, "n+1\0", 4);
        else bytes.replace(4, 8, "n+2\0\r\n\032\n", 8);
        dim(0, 3);
        int const n[] = {nx, ny, nz, 1, 1, 1, 1};
        for (int i = 0; i < 7; ++i) dim(i + 1, n[i]);
        put<std::int16_t>(v == 1 ? 70 : 12, static_cast<std::int16_t>(datatype));
        put<std::int16_t>(v == 1 ? 72 : 14, static_cast<std::int16_t>(bitpix));
        for (int i = 0; i < 4; ++i) pixdim(i, 1);
        vox_offset(v == 1 ? 352 : 544);
    }

    template <class T>
    void put(std::size_t offset, T value) {
        char raw[sizeof(T)];
        std::memcpy(raw, &value, sizeof(T));
        if (big_endian != (std::endian::native == std::endian::big)) std::reverse(raw, raw + sizeof(T));
        bytes.replace(offset, sizeof(T), raw, sizeof(T));
    }
    template <class T>
    void append(T value) {
        bytes.append(sizeof(T), '\0');
        put<T>(bytes.size() - sizeof(T), value);
    }
    void dim(int i, std::int64_t n) {
        if (version == 1) put<std::int16_t>(40 + 2 * i, static_cast<std::int16_t>(n));
        else put<std::int64_t>(16 + 8 * i, n);
    }
    void real(std::size_t offset1, std::size_t offset2, double value) {
        if (version == 1) put<float>(offset1, static_cast<float>(value));
        else put<double>(offset2, value);
    }
    void code(std::size_t offset1, std::size_t offset2, int value) {
        if (version == 1) put<std::int16_t>(offset1, static_cast<std::int16_t>(value));
        else put<std::int32_t>(offset2, value);
    }
    void pixdim(int i, double value) { real(76 + 4 * i, 104 + 8 * i, value); }
    void vox_offset(std::int64_t n) {
        if (version == 1) put<float>(108, static_cast<float>(n));
        else put<std::int64_t>(168, n);
    }
    void scaling(double slope, double intercept) {
        real(112, 176, slope);
        real(116, 184, intercept);
    }
    void qform(int qform_code, double b, double c, double d, double x, double y, double z) {
        code(252, 344, qform_code);
        double const values[] = {b, c, d, x, y, z};
        for (int i = 0; i < 6; ++i) real(256 + 4 * i, 352 + 8 * i, values[i]);
    }
    void sform(int sform_code, double const (&rows)[3][4]) {
        code(254, 348, sform_code);
        for (int i = 0; i < 12; ++i) real(280 + 4 * i, 400 + 8 * i, rows[i / 4][i % 4]);
    }
};

}  // namespace nifti_test
