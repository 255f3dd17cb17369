// What changes in copies of samples, for relprop.copies: windows cut out and put back, and rows of weights added.
#include "machine/windows.h"

#include "door.h"
#include "relprop/dense.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

using Places = py::array_t<Index, py::array::c_style>;

Places places_of(const char* name, const py::array& x) {
  if (!py::isinstance<Places>(x)) throw py::type_error(std::string(name) + " is not an array of int64 in C order");
  return py::cast<Places>(x);
}

// Adds to z (n, o) in place what changes `by` (n, m) of its inputs at places (n, m) are worth.
void dense_update(py::array& z_, const py::array& w_, const py::array& places_, const py::array& by_) {
  const auto z = floats("z", z_), w = floats("w", w_), by = floats("by", by_);
  check_shape("w", w, {any, z.ndim() == 2 ? z.shape(1) : any});
  check_shape("by", by, {z.shape(0), any});
  check_shape("places", places_, shape_of(by));
  const auto places = places_of("places", places_);
  for (Index k = 0; k < places.size(); ++k)
    if (places.data()[k] < 0 || places.data()[k] >= w.shape(0)) throw py::index_error("a place is outside of w");
  with_widest({z}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    if (!(z.flags() & py::array::c_style) || !z.writeable() || !py::isinstance<py::array_t<T>>(w) || !py::isinstance<py::array_t<T>>(by))
      throw py::type_error("z, w and by have different dtypes, or z is not writable in C order");
    const Packed<T> by_data(by), w_data(w);
    T* out = static_cast<T*>(z_.mutable_data());
    py::gil_scoped_release release;
    cpu::dense_update(by_data.shape(0), by_data.shape(1), w_data.shape(1), places.data(), by_data.data(), w_data.data(), out);
    return py::object();
  });
}

// Images (n, c, *axes) of one to three axes, and where windows (count, rank) begin in them, as three axes.
struct Windows {
  machine::Images images{1, {1, 1, 1}};
  std::vector<Index> start;
  Index size[3] = {1, 1, 1};

  Windows(const py::array& x, const py::array& start_, const std::vector<Index>& given) {
    const Index rank = x.ndim() - 2, count = start_.ndim() > 0 ? start_.shape(0) : 0;
    if (rank < 1 || rank > 3) throw py::value_error("windows have one to three axes");
    check_shape("start", start_, {any, rank});
    if (static_cast<Index>(given.size()) != rank) throw py::value_error("size has another number of axes than the images");
    const auto places = places_of("start", start_);
    images.channels = x.shape(1);
    start.assign(static_cast<std::size_t>(3 * count), 0);
    for (Index a = 0; a < rank; ++a) {
      images.lengths[3 - rank + a] = x.shape(static_cast<int>(a) + 2);
      size[3 - rank + a] = given[static_cast<std::size_t>(a)];
      for (Index k = 0; k < count; ++k)
        start[static_cast<std::size_t>(3 * k + 3 - rank + a)] = places.data()[k * rank + a];
    }
  }
};

// Windows (b, c, *size) of x (n, c, *axes): the k-th of sample rows[k], from start[k] on; `outside` beyond the edges.
py::object window_crop(const py::object& x_, const py::array& rows_, const py::array& start, const py::tuple& size, double outside) {
  const auto x = floats("x", x_);
  std::vector<Index> given;
  for (py::handle s : size) given.push_back(py::cast<Index>(s));
  const Windows windows(x, start, given);
  check_shape("rows", rows_, {static_cast<Index>(start.shape(0))});
  const auto rows = places_of("rows", rows_);
  for (Index k = 0; k < rows.size(); ++k)
    if (rows.data()[k] < 0 || rows.data()[k] >= x.shape(0)) throw py::index_error("a row is outside of x");
  std::vector<Index> shape{rows.size(), x.shape(1)};
  shape.insert(shape.end(), given.begin(), given.end());
  return filled({x}, {shape}, [&](auto in, auto out) {
    using T = std::remove_pointer_t<std::decay_t<decltype(out[0])>>;
    machine::crop(windows.images, in[0], rows.size(), rows.data(), windows.start.data(), windows.size, static_cast<T>(outside), out[0]);
  })[0];
}

// Puts windows (b, c, *size) into x (b, c, *axes) in place from start on, as far as they lie inside.
void window_paste(py::array& x_, const py::array& start, const py::array& values_) {
  const auto x = floats("x", x_), values = floats("values", values_);
  if (x.ndim() < 3 || values.ndim() != x.ndim()) throw py::value_error("x and values are images of the same number of axes");
  const std::vector<Index> size(values.shape() + 2, values.shape() + values.ndim());
  const Windows windows(x, start, size);
  std::vector<Index> expected{x.shape(0), x.shape(1)};
  expected.insert(expected.end(), size.begin(), size.end());
  check_shape("values", values, expected);
  check_shape("start", start, {x.shape(0), any});
  with_widest({x}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    if (!(x.flags() & py::array::c_style) || !x.writeable() || !py::isinstance<py::array_t<T>>(values))
      throw py::type_error("x and values have different dtypes, or x is not writable in C order");
    const Packed<T> data(values);
    T* into = static_cast<T*>(x_.mutable_data());
    py::gil_scoped_release release;
    machine::paste(windows.images, into, data.shape(0), windows.start.data(), windows.size, data.data());
    return py::object();
  });
}

}  // namespace

void bind_updates(py::module_& module) {
  using namespace py::literals;
  module.def("dense_update", &dense_update, "z"_a, "w"_a, "places"_a, "by"_a);
  module.def("window_crop", &window_crop, "x"_a, "rows"_a, "start"_a, "size"_a, "outside"_a);
  module.def("window_paste", &window_paste, "x"_a, "start"_a, "values"_a);
}
