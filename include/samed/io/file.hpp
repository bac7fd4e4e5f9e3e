// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <samed/core/tensor.hpp>

namespace samed {

namespace detail {

/// The operating system's refusal as an Error; `what` says which step failed.
inline Error system_error(std::string_view what, std::string_view path, int code) {
    return fail(ErrorCode::io_failure, what, {}, std::system_category().message(code)).in(path);
}

/// Owner of a POSIX descriptor.
class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        if (this != &other) {
            close();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    ~Descriptor() { close(); }

    int get() const { return fd_; }
    /// errno of close(2), 0 when it succeeded; a failed close of a written file is lost data.
    int close() {
        int const fd = std::exchange(fd_, -1);
        return fd < 0 || ::close(fd) == 0 ? 0 : errno;
    }

private:
    int fd_ = -1;
};

}  // namespace detail

/// A regular file open for reading. Const reads go through pread(2): any number of threads may share one.
class File {
public:
    /// @errors io_failure (also for folders, pipes and devices, whose size says nothing)
    static Result<File> open(std::string path) {
        File f;
        // O_NONBLOCK: opening a named pipe must not hang; it has no effect on regular files.
        f.fd_ = detail::Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        if (f.fd_.get() < 0) return detail::system_error("open", path, errno);
        struct ::stat status {};
        if (::fstat(f.fd_.get(), &status) != 0) return detail::system_error("stat", path, errno);
        if (!S_ISREG(status.st_mode)) return fail(ErrorCode::io_failure, "open", "a regular file", "something else").in(path);
        f.size_ = static_cast<std::uint64_t>(status.st_size);
        f.device_ = status.st_dev;
        f.inode_ = status.st_ino;
        f.path_ = std::move(path);
        return f;
    }

    std::string const& path() const { return path_; }
    /// Bytes, as they were when the file was opened.
    std::uint64_t size() const { return size_; }

    /// Whether `path` names this very file, through links too. Writers ask before they replace anything.
    bool is_at(std::string const& path) const {
        struct ::stat status {};
        return ::stat(path.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_;
    }

    /// Reads exactly `bytes` bytes at `offset`.
    /// @errors truncated, io_failure
    Result<void> read_at(std::uint64_t offset, void* out, std::size_t bytes) const {
        if (offset > size_ || bytes > size_ - offset) return ends_early(offset, bytes, size_);
        auto* to = static_cast<std::byte*>(out);
        while (bytes > 0) {
            ::ssize_t const got = ::pread(fd_.get(), to, bytes, static_cast<::off_t>(offset));
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) return detail::system_error("read", path_, errno).at(offset);
            if (got == 0) return ends_early(offset, bytes, offset);
            to += got;
            offset += static_cast<std::uint64_t>(got);
            bytes -= static_cast<std::size_t>(got);
        }
        return {};
    }

private:
    Error ends_early(std::uint64_t offset, std::size_t bytes, std::uint64_t end) const {
        return fail(ErrorCode::truncated, "file", text() << bytes << " bytes at " << offset, text() << "end of file at " << end)
            .in(path_)
            .at(end);
    }

    std::string path_;
    detail::Descriptor fd_;
    std::uint64_t size_ = 0;
    ::dev_t device_ = 0;
    ::ino_t inode_ = 0;
};

/// The whole file, which may have at most `cap_bytes` bytes.
/// @errors io_failure, truncated, too_large, out_of_memory
inline Result<Buffer<std::byte>> read_all(std::string path, std::uint64_t cap_bytes) {
    SAMED_TRY(File const file, File::open(std::move(path)));
    if (file.size() > cap_bytes)
        return fail(ErrorCode::too_large, "file", text() << "at most " << cap_bytes << " bytes", text() << file.size()).in(file.path());
    SAMED_TRY(auto bytes, Buffer<std::byte>::allocate(static_cast<std::size_t>(file.size())));
    SAMED_CHECK(file.read_at(0, bytes.data(), bytes.size()));
    return bytes;
}

/// A file that appears whole or not at all: bytes go to a temporary file in the same folder, `commit()` makes them durable and
/// renames. Without a successful `commit()` the destructor removes the temporary file and the old file stays as it was.
class AtomicFile {
public:
    /// @errors io_failure (also when `path` is a folder, pipe or device)
    static Result<AtomicFile> create(std::string path) {
        AtomicFile f;
        f.path_ = path;
        struct ::stat status {};
        if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
            // Through a link the file behind it is replaced, not the link.
            if (char* real = ::realpath(path.c_str(), nullptr)) {
                path = real;
                std::free(real);
            }
        }
        if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
            return fail(ErrorCode::io_failure, "create", "a regular file or a free name", "something else").in(f.path_);
        std::size_t const slash = path.rfind('/');
        std::string const folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
        auto stamp = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
        for (int attempt = 0; attempt < 100; ++attempt, ++stamp) {
            f.temporary_ = folder + ".samed-" + std::to_string(::getpid()) + "-" + std::to_string(stamp) + ".tmp";
            f.fd_ = detail::Descriptor(::open(f.temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
            if (f.fd_.get() >= 0 || errno != EEXIST) break;
        }
        if (f.fd_.get() < 0) {
            int const code = errno;
            f.temporary_.clear();
            return detail::system_error("create", f.path_, code);
        }
        f.target_ = std::move(path);
        return f;
    }

    AtomicFile(AtomicFile&& other) noexcept
        : path_(std::move(other.path_)),
          target_(std::move(other.target_)),
          temporary_(std::exchange(other.temporary_, {})),
          fd_(std::move(other.fd_)),
          written_(other.written_) {}
    AtomicFile& operator=(AtomicFile&&) = delete;
    ~AtomicFile() { discard(); }

    std::string const& path() const { return path_; }
    /// Bytes written so far, i.e. the offset of the next.
    std::uint64_t written() const { return written_; }

    /// Appends. @errors io_failure
    Result<void> write(void const* data, std::size_t bytes) {
        auto const* from = static_cast<std::byte const*>(data);
        while (bytes > 0) {
            ::ssize_t const put = ::write(fd_.get(), from, bytes);
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) return detail::system_error("write", path_, errno).at(written_);
            from += put;
            written_ += static_cast<std::uint64_t>(put);
            bytes -= static_cast<std::size_t>(put);
        }
        return {};
    }
    Result<void> write(std::string_view data) { return write(data.data(), data.size()); }

    /// fsync, close, rename. @errors io_failure; then nothing is left behind
    Result<void> commit() {
        if (::fsync(fd_.get()) != 0) return detail::system_error("fsync", path_, errno);
        if (int const code = fd_.close()) return detail::system_error("close", path_, code);
        if (::rename(temporary_.c_str(), target_.c_str()) != 0) return detail::system_error("rename", path_, errno);
        temporary_.clear();
        // The rename itself becomes durable with the folder. Some file systems refuse to sync folders: the data is safe either way.
        std::size_t const slash = target_.rfind('/');
        std::string const folder = slash == std::string::npos ? "." : target_.substr(0, slash + 1);
        if (detail::Descriptor dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); dir.get() >= 0) ::fsync(dir.get());
        return {};
    }

private:
    AtomicFile() = default;
    void discard() {
        if (!temporary_.empty()) ::unlink(temporary_.c_str());
        temporary_.clear();
    }

    std::string path_, target_, temporary_;
    detail::Descriptor fd_;
    std::uint64_t written_ = 0;
};

}  // namespace samed
