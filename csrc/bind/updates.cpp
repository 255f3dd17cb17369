// What changes in copies of samples, for relprop.copies: windows cut out and put back, rows of weights added, and windows
// carried through several layers at once.
#include "machine/windows.h"

#include "activation.h"
#include "relprop/dense.h"
#include "relprop/occlusion.h"
#include "window.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

using Places = py::array_t<Index, py::array::c_style>;

Places places_of(const char* name, const py::array& x) {
  if (!py::isinstance<Places>(x)) throw py::type_error(std::string(name) + " is not an array of int64 in C order");
  return py::cast<Places>(x);
}

// Numbers of samples of x.
Places rows_of(const py::array& rows_, const py::array& x) {
  const auto rows = places_of("rows", rows_);
  for (Index k = 0; k < rows.size(); ++k)
    if (rows.data()[k] < 0 || rows.data()[k] >= x.shape(0)) throw py::index_error("a row is outside of x");
  return rows;
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

// Where x (b, c, *axes) differs from others (n, c, *axes), the k-th from the one of rows[k]: low and high (b, rank).
py::tuple window_bounds(const py::array& x_, const py::array& others_, const py::array& rows_) {
  const auto x = floats("x", x_), others = floats("others", others_);
  auto shape = shape_of(x);
  if (shape.size() < 3 || shape.size() > 5) throw py::value_error("images have one to three axes");
  shape[0] = any;
  check_shape("others", others, shape);
  check_shape("rows", rows_, {x.shape(0)});
  const auto rows = rows_of(rows_, others);
  const Index count = x.shape(0), rank = x.ndim() - 2;
  cpu::ImageSize size{count, x.shape(1), {1, 1, 1}};
  for (Index a = 0; a < rank; ++a) size.lengths[3 - rank + a] = x.shape(static_cast<int>(a) + 2);
  std::vector<Index> found(static_cast<std::size_t>(6 * count));
  Index *low = found.data(), *high = low + 3 * count;
  with_widest({x, others}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> x_data(x), others_data(others);
    const T *in = x_data.data(), *from = others_data.data();
    py::gil_scoped_release release;
    cpu::difference_bounds(size, in, rows.data(), from, low, high);
    return py::object();
  });
  const auto made = [&](const Index* from) {
    auto out = empty<Index>({count, rank});
    for (Index k = 0; k < count; ++k) std::copy_n(from + 3 * k + 3 - rank, rank, out.mutable_data() + k * rank);
    return out;
  };
  return py::make_tuple(made(low), made(high));
}

// A matrix that lies transposed, in C order.
py::object turned(const py::array& w_) {
  const auto w = floats("w", w_);
  check_shape("w", w, {any, any});
  return filled({w.attr("T")}, {shape_of(w)}, [&](auto in, auto out) {
    cpu::turned(static_cast<Index>(w.shape(1)), static_cast<Index>(w.shape(0)), in[0], out[0]);
  })[0];
}

// Windows (b, c, *size) of x (n, c, *axes): the k-th of sample rows[k], from start[k] on; `outside` beyond the edges.
py::object window_crop(const py::object& x_, const py::array& rows_, const py::array& start, const py::tuple& size, double outside) {
  const auto x = floats("x", x_);
  std::vector<Index> given;
  for (py::handle s : size) given.push_back(py::cast<Index>(s));
  const Windows windows(x, start, given);
  check_shape("rows", rows_, {static_cast<Index>(start.shape(0))});
  const auto rows = rows_of(rows_, x);
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

// Numbers of dtype T, in C order without gaps.
template <class T>
const T* numbers_of(const char* name, const py::array& x, const std::vector<Index>& shape) {
  check_shape(name, x, shape);
  if (!py::isinstance<Packed<T>>(x)) throw py::type_error(std::string(name) + " has another dtype than x, or is not in C order");
  return static_cast<const T*>(x.data());
}

// What copies of samples put out: relprop/occlusion.h. `layers` is a list of (name, *its own, y):
//
//   ("conv", windows, w, y)   ("max_pool", windows, y)   ("activation", activation, y)
//
// rows, first, start and values are those of the walks. None where the kernel does not answer.
py::object copied_forward(const py::array& x, const py::list& layers, const py::array& w, const py::array& z, const py::array& rows_,
                          const py::array& first_, const py::array& start_, const py::array& values, double most) {
  const int rank = static_cast<int>(x.ndim()) - 2;
  if (rank < 1 || rank > window_axes) throw py::value_error("images have one to three axes");
  const auto rows = rows_of(rows_, x), first = places_of("first", first_), starts = places_of("start", start_);
  check_shape("rows", rows, {any});
  check_shape("first", first, {static_cast<Index>(rows.size()) + 1});
  const Index samples = x.shape(0), copies = first.data()[rows.size()];
  check_shape("start", starts, {copies, rank});
  std::vector<Index> expected{copies, x.shape(1)};
  for (int a = 0; a < rank; ++a) expected.push_back(any);
  check_shape("values", values, expected);
  std::vector<char> is_walked(static_cast<std::size_t>(samples), 0);
  for (Index k = 0; k < rows.size(); ++k) {
    const Index steps = first.data()[k + 1] - first.data()[k];
    if (steps < 0 || (k == 0 && first.data()[0] != 0)) throw py::value_error("first is not the beginnings of walks, in order");
    char& walked = is_walked[static_cast<std::size_t>(rows.data()[k])];
    if (walked > 0 && (walked > 1 || steps > 1)) throw py::value_error("two walks begin at one sample");
    walked = steps > 1 ? 2 : 1;
  }
  return with_widest({x}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto image = [&](const char* name, const py::array& v, const std::vector<Index>& shape) {
      cpu::Image<T> made{numbers_of<T>(name, v, shape), v.shape(1), {1, 1, 1}};
      for (int a = 0; a < rank; ++a) made.lengths[window_axes - rank + a] = v.shape(a + 2);
      return made;
    };
    cpu::CopiedChain<T> chain{samples, {image("x", x, shape_of(x))}, {}, 0, nullptr, nullptr};
    for (py::handle layer : layers) {
      const auto parts = py::cast<py::tuple>(layer);
      const auto name = py::cast<std::string>(parts[0]);
      const auto y = py::cast<py::array>(parts[parts.size() - 1]);
      const cpu::Image<T> before = chain.images.back();
      std::vector<Index> shape{samples, before.channels};
      if (name == "activation") {
        AnyActivation<T> activation;
        with_activation<T>(parts[1], [&](const auto& compiled) { activation = compiled; });
        chain.layers.push_back(activation);
        for (int a = 0; a < rank; ++a) shape.push_back(before.lengths[window_axes - rank + a]);
      } else {
        const auto windows = windows_from(parts[1]);
        if (!windows || !std::equal(before.lengths, before.lengths + window_axes, windows->lengths))
          throw py::value_error("windows are not over the image that they see");
        for (int a = 0; a < rank; ++a) shape.push_back(windows->counts[window_axes - rank + a]);
        if (name == "conv") {
          const auto weights = py::cast<py::array>(parts[2]);
          std::vector<Index> of_w{any, before.channels};
          for (int a = 0; a < rank; ++a) of_w.push_back(windows->kernel[window_axes - rank + a]);
          chain.layers.push_back(cpu::CopiedConv<T>{*windows, numbers_of<T>("w", weights, of_w)});
          shape[1] = weights.shape(0);
        } else {
          chain.layers.push_back(cpu::CopiedMaxPool{*windows});
        }
      }
      chain.images.push_back(image("y", y, shape));
    }
    const auto& last = chain.images.back();
    chain.w = numbers_of<T>("w", w, {last.channels * last.lengths[0] * last.lengths[1] * last.lengths[2], any});
    chain.outputs = w.shape(1);
    chain.z = numbers_of<T>("z", z, {samples, chain.outputs});
    std::vector<Index> start(static_cast<std::size_t>(window_axes * copies), 0);
    cpu::Walks<T> walks{rows.size(), rows.data(), first.data(), start.data(), {1, 1, 1}, numbers_of<T>("values", values, expected)};
    for (int a = 0; a < rank; ++a) {
      walks.size[window_axes - rank + a] = values.shape(a + 2);
      for (Index k = 0; k < copies; ++k)
        start[static_cast<std::size_t>(window_axes * k + window_axes - rank + a)] = starts.data()[k * rank + a];
    }
    auto out = empty<T>({copies, chain.outputs});
    T* data = out.mutable_data();
    bool answered = false;
    {
      py::gil_scoped_release release;
      answered = cpu::copied_forward(chain, walks, most, data);
    }
    return answered ? py::object(out) : py::object(py::none());
  });
}

}  // namespace

void bind_updates(py::module_& module) {
  using namespace py::literals;
  module.def("dense_update", &dense_update, "z"_a, "w"_a, "places"_a, "by"_a);
  module.def("copied_forward", &copied_forward, "x"_a, "layers"_a, "w"_a, "z"_a, "rows"_a, "first"_a, "start"_a, "values"_a, "most"_a);
  module.def("turned", &turned, "w"_a);
  module.def("window_bounds", &window_bounds, "x"_a, "others"_a, "rows"_a);
  module.def("window_crop", &window_crop, "x"_a, "rows"_a, "start"_a, "size"_a, "outside"_a);
  module.def("window_paste", &window_paste, "x"_a, "start"_a, "values"_a);
}
