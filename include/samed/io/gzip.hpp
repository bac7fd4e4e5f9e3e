// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include <zlib.h>

#include <samed/io/file.hpp>

namespace samed {

/// A file read as its content, whether stored plain or as gzip (RFC 1952, any number of members; told apart by the first two bytes),
/// or the part of a file behind a header, also as zlib's stream (RFC 1950).
/// Nothing is inflated beyond what is asked for, so a caller that knows how much it wants cannot be bombed. Not for several threads.
/// Needs zlib: link `samed::io`.
class GzipFile {
public:
    /// Deflate cannot shrink further than this (RFC 1951: 258 bytes in two bits, and block headers).
    static constexpr std::uint64_t max_ratio = 1040;

    /// How the content is stored.
    enum class Coding { plain, gzip, zlib };

    /// @errors io_failure, out_of_memory
    static Result<GzipFile> open(std::string path) {
        SAMED_TRY(auto file, File::open(std::move(path)));
        unsigned char magic[2] = {};
        if (file.size() >= 2) SAMED_CHECK(file.read_at(0, magic, 2));
        bool const zipped = magic[0] == 0x1f && magic[1] == 0x8b;
        return open_part(std::move(file), 0, zipped ? Coding::gzip : Coding::plain);
    }

    /// The content from byte `start` to the end, coded as a header before it said.
    /// @errors truncated (`start` lies behind the end), out_of_memory
    static Result<GzipFile> open_part(File file, std::uint64_t start, Coding coding) {
        if (start > file.size())
            return fail(ErrorCode::truncated, "data", text() << "from byte " << start, text() << file.size() << " bytes").in(file.path());
        GzipFile f;
        f.file_ = std::move(file);
        f.start_ = start;
        f.coding_ = coding;
        if (coding == Coding::plain) return f;
        SAMED_TRY(f.input_, Buffer<unsigned char>::allocate(piece_bytes));
        SAMED_CHECK(f.rewind());
        return f;
    }

    std::string const& path() const { return file_.path(); }
    bool compressed() const { return stream_ != nullptr; }

    /// The most bytes that the content can have: exact for a plain file.
    std::uint64_t max_content_bytes() const {
        std::uint64_t const stored = file_.size() - start_;
        if (!compressed()) return stored;
        return stored > std::numeric_limits<std::uint64_t>::max() / max_ratio ? std::numeric_limits<std::uint64_t>::max()
                                                                             : stored * max_ratio;
    }

    /// Reads exactly `bytes` bytes of content at `offset`. In a gzip file, going back starts again from the first member.
    /// @errors truncated, bad_format, io_failure, out_of_memory
    Result<void> read_at(std::uint64_t offset, void* out, std::size_t bytes) {
        if (!compressed()) {
            std::uint64_t const stored = max_content_bytes();
            if (offset > stored)  // before the sum below, which could overflow
                return fail(ErrorCode::truncated, "file", text() << "byte " << offset << " of the data", text() << stored << " bytes")
                    .in(path());
            return file_.read_at(start_ + offset, out, bytes);
        }
        if (offset < position_) SAMED_CHECK(rewind());
        SAMED_CHECK(skip(offset - position_));
        return inflate_exactly(static_cast<unsigned char*>(out), bytes);
    }

    /// Reads on to the end of a gzip file, which is where zlib compares the checksums; nothing to do for a plain file.
    /// @param cap_bytes  more content than this behind the present position is an error
    /// @errors truncated, bad_format (also a wrong checksum), too_large, io_failure
    Result<void> check_end(std::uint64_t cap_bytes) {
        if (!compressed()) return {};
        std::uint64_t const from = position_;
        unsigned char waste[4096];
        for (;;) {
            SAMED_TRY(std::size_t const got, inflate_some(waste, sizeof waste));
            if (got == 0) return {};
            if (position_ - from > cap_bytes)
                return fail(ErrorCode::too_large, "gzip", text() << "at most " << cap_bytes << " bytes behind the data", "more").in(path());
        }
    }

private:
    static constexpr std::size_t piece_bytes = std::size_t{64} << 10;
    struct End {
        void operator()(::z_stream* s) const {
            ::inflateEnd(s);
            delete s;
        }
    };

    Result<void> rewind() {
        std::unique_ptr<::z_stream> fresh(new (std::nothrow)::z_stream{});
        int const bits = coding_ == Coding::gzip ? 16 + MAX_WBITS : MAX_WBITS;  // 16: expect a gzip header, not zlib's
        if (!fresh || ::inflateInit2(fresh.get(), bits) != Z_OK)
            return fail(ErrorCode::out_of_memory, "gzip", "memory of zlib", "refused").in(path());
        stream_.reset(fresh.release());
        file_offset_ = start_;
        position_ = 0;
        ended_ = false;
        return {};
    }

    Result<void> skip(std::uint64_t bytes) {
        unsigned char waste[4096];
        while (bytes > 0) {
            auto const piece = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, sizeof waste));
            SAMED_CHECK(inflate_exactly(waste, piece));
            bytes -= piece;
        }
        return {};
    }

    Result<void> inflate_exactly(unsigned char* out, std::size_t bytes) {
        while (bytes > 0) {
            SAMED_TRY(std::size_t const got, inflate_some(out, bytes));
            if (got == 0)
                return fail(ErrorCode::truncated, "gzip", text() << bytes << " more bytes of content", text() << "end at " << position_)
                    .in(path())
                    .at(position_);
            out += got;
            bytes -= got;
        }
        return {};
    }

    /// At least one byte, or 0 at the end of the last member.
    Result<std::size_t> inflate_some(unsigned char* out, std::size_t bytes) {
        auto const wanted = static_cast<::uInt>(std::min<std::size_t>(bytes, std::size_t{1} << 30));
        stream_->next_out = out;
        stream_->avail_out = wanted;
        while (stream_->avail_out == wanted && !ended_) {
            if (stream_->avail_in == 0) SAMED_CHECK(refill());
            if (stream_->avail_in == 0)
                return fail(ErrorCode::truncated, "gzip", "the end of a member", "end of file").in(path()).at(file_.size());
            int const status = ::inflate(stream_.get(), Z_NO_FLUSH);
            if (status == Z_STREAM_END) {
                SAMED_CHECK(next_member());
            } else if (status == Z_MEM_ERROR) {
                return fail(ErrorCode::out_of_memory, "gzip", "memory of zlib", "refused").in(path());
            } else if (status != Z_OK) {
                return fail(ErrorCode::bad_format, "gzip", {}, stream_->msg ? stream_->msg : "a damaged stream")
                    .in(path())
                    .at(file_offset_ - stream_->avail_in);
            }
        }
        std::size_t const got = wanted - stream_->avail_out;
        position_ += got;
        return got;
    }

    /// Behind a member: another one, zeros to the end (tapes pad so), or the end. Anything else is damage.
    Result<void> next_member() {
        if (stream_->avail_in == 0) SAMED_CHECK(refill());
        if (coding_ == Coding::gzip && stream_->avail_in > 0 && *stream_->next_in == 0x1f) {
            ::inflateReset(stream_.get());
            return {};
        }
        while (stream_->avail_in > 0) {
            for (; stream_->avail_in > 0; --stream_->avail_in, ++stream_->next_in)
                if (*stream_->next_in != 0)
                    return fail(ErrorCode::bad_format, "gzip", "another member or the end", "other bytes")
                        .in(path())
                        .at(file_offset_ - stream_->avail_in);
            SAMED_CHECK(refill());
        }
        ended_ = true;
        return {};
    }

    Result<void> refill() {
        auto const piece = static_cast<std::size_t>(std::min<std::uint64_t>(piece_bytes, file_.size() - file_offset_));
        SAMED_CHECK(file_.read_at(file_offset_, input_.data(), piece));
        file_offset_ += piece;
        stream_->next_in = input_.data();
        stream_->avail_in = static_cast<::uInt>(piece);
        return {};
    }

    File file_;
    Buffer<unsigned char> input_;
    std::unique_ptr<::z_stream, End> stream_;
    Coding coding_ = Coding::plain;
    std::uint64_t start_ = 0;        ///< where the content begins in the file
    std::uint64_t file_offset_ = 0;  ///< next byte of the file to read
    std::uint64_t position_ = 0;     ///< bytes of content handed out
    bool ended_ = false;
};

/// Appends one gzip member to a file, piece by piece. The bytes depend on the content alone: no name, no time.
class GzipWriter {
public:
    /// @param file  outlives the writer; the caller commits it
    /// @errors out_of_memory
    static Result<GzipWriter> open(AtomicFile& file) {
        GzipWriter w(file);
        SAMED_TRY(w.output_, Buffer<unsigned char>::allocate(piece_bytes));
        std::unique_ptr<::z_stream> fresh(new (std::nothrow)::z_stream{});
        if (!fresh || ::deflateInit2(fresh.get(), Z_DEFAULT_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
            return fail(ErrorCode::out_of_memory, "gzip", "memory of zlib", "refused").in(file.path());
        w.stream_.reset(fresh.release());
        return w;
    }

    /// @errors io_failure
    Result<void> write(void const* data, std::size_t bytes) {
        auto const* from = static_cast<unsigned char const*>(data);
        while (bytes > 0) {
            std::size_t const piece = std::min<std::size_t>(bytes, std::size_t{1} << 30);
            SAMED_CHECK(deflate_piece(from, piece, Z_NO_FLUSH));
            from += piece;
            bytes -= piece;
        }
        return {};
    }
    /// Ends the member. @errors io_failure
    Result<void> finish() { return deflate_piece(nullptr, 0, Z_FINISH); }

private:
    static constexpr std::size_t piece_bytes = std::size_t{64} << 10;
    struct End {
        void operator()(::z_stream* s) const {
            ::deflateEnd(s);
            delete s;
        }
    };

    explicit GzipWriter(AtomicFile& file) : file_(&file) {}

    Result<void> deflate_piece(unsigned char const* data, std::size_t bytes, int flush) {
        stream_->next_in = const_cast<unsigned char*>(data);  // zlib's interface without ZLIB_CONST
        stream_->avail_in = static_cast<::uInt>(bytes);
        do {
            stream_->next_out = output_.data();
            stream_->avail_out = static_cast<::uInt>(piece_bytes);
            ::deflate(stream_.get(), flush);
            SAMED_CHECK(file_->write(output_.data(), piece_bytes - stream_->avail_out));
        } while (stream_->avail_out == 0);
        return {};
    }

    AtomicFile* file_;
    Buffer<unsigned char> output_;
    std::unique_ptr<::z_stream, End> stream_;
};

}  // namespace samed
