// SPDX-License-Identifier: Apache-2.0
// The compiled half of io/hdf5.hpp.
#include <samed/io/hdf5.hpp>

#include <hdf5.h>

namespace samed {

namespace {

/// Closes what HDF5 opened.
class Handle {
public:
    Handle(::hid_t id, ::herr_t (*close)(::hid_t)) : id_(id), close_(close) {}
    ~Handle() {
        if (id_ >= 0) close_(id_);
    }
    Handle(Handle const&) = delete;
    Handle& operator=(Handle const&) = delete;
    ::hid_t get() const { return id_; }
    bool good() const { return id_ >= 0; }

private:
    ::hid_t id_;
    ::herr_t (*close_)(::hid_t);
};

/// Called before a link to another file is followed: never.
::herr_t refuse_link(char const*, char const*, char const*, char const*, unsigned*, ::hid_t, void* refused) {
    *static_cast<bool*>(refused) = true;
    return -1;
}

/// A file from a stranger must not name others of this machine.
Error elsewhere(std::string const& dataset, char const* found) {
    return fail(ErrorCode::unsupported, dataset, "values in the file itself", found);
}

Result<NpyArray> read(std::string const& path, std::string const& dataset, NpyLimits const& limits) {
    Handle const file(::H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), ::H5Fclose);
    if (!file.good()) return fail(ErrorCode::bad_format, "file", "an HDF5 file", "something else");
    bool refused = false;
    Handle const access(::H5Pcreate(H5P_DATASET_ACCESS), ::H5Pclose);
    if (!access.good() || ::H5Pset_elink_cb(access.get(), refuse_link, &refused) < 0)
        return fail(ErrorCode::out_of_memory, "HDF5", "memory", "refused");
    Handle const set(::H5Dopen2(file.get(), dataset.c_str(), access.get()), ::H5Dclose);
    if (refused) return elsewhere(dataset, "a link to another file");
    if (!set.good()) return fail(ErrorCode::missing_tensor, dataset, "a dataset of this name", "none");
    Handle const storage(::H5Dget_create_plist(set.get()), ::H5Pclose);
    if (!storage.good()) return fail(ErrorCode::bad_format, dataset, "a description of its storage", "an error of HDF5");
    if (::H5Pget_external_count(storage.get()) != 0) return elsewhere(dataset, "values in another file");
    if (::H5Pget_layout(storage.get()) == H5D_VIRTUAL) return elsewhere(dataset, "a virtual dataset over others");
    Handle const type(::H5Dget_type(set.get()), ::H5Tclose), space(::H5Dget_space(set.get()), ::H5Sclose);
    ::H5T_class_t const kind = type.good() ? ::H5Tget_class(type.get()) : H5T_NO_CLASS;
    if (kind != H5T_INTEGER && kind != H5T_FLOAT) return fail(ErrorCode::unsupported, dataset, "integers or floats", "another type");
    int const rank = space.good() ? ::H5Sget_simple_extent_ndims(space.get()) : -1;
    if (rank < 1 || rank > static_cast<int>(limits.rank))
        return fail(ErrorCode::too_large, dataset, text() << "1 to " << limits.rank << " axes", text() << rank);
    ::hsize_t sizes[H5S_MAX_RANK] = {};
    ::H5Sget_simple_extent_dims(space.get(), sizes, nullptr);
    NpyArray array;
    array.dtype = DType::f32;
    for (int i = 0; i < rank; ++i) array.shape.push_back(sizes[i] > (std::uint64_t{1} << 40) ? -1 : static_cast<std::int64_t>(sizes[i]));
    auto const count = checked_count(array.shape);
    if (!count || static_cast<std::uint64_t>(*count) > limits.data_bytes / sizeof(float))
        return fail(ErrorCode::too_large, dataset, text() << "at most " << limits.data_bytes << " bytes", shape_text(array.shape));
    SAMED_TRY(array.data, Buffer<std::byte>::allocate(static_cast<std::size_t>(*count) * sizeof(float)));
    if (*count > 0 && ::H5Dread(set.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, array.data.data()) < 0)
        return fail(ErrorCode::truncated, dataset, "all of its values", "an error of HDF5");
    return array;
}

}  // namespace

Result<NpyArray> read_hdf5(std::string const& path, std::string const& dataset, NpyLimits limits) {
    SAMED_TRY(File const file, File::open(path));  // tells a missing file from a damaged one
    ::H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    auto array = read(path, dataset, limits);
    return array ? std::move(array) : array.error().in(path);
}

}  // namespace samed
