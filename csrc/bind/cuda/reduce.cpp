// Weighted sums over boxes: sums and means over axes, of pyref/layers/reduce.py, and the averages of pyref/layers/pool.py.
#include "cuda/reduce.h"

#include <pybind11/stl.h>

#include "affine.h"
#include "bind/reduce.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

using cuda::BoxAxis;

BoxAxis kept(int length) { return {length, length, 1, 1, 1, 0, 0, length}; }
BoxAxis summed(int length) { return {length, 1, std::max(1, length), 1, length, 0, 0, length}; }

bool is_kept(const BoxAxis& a) { return a.count == a.length && a.pace == 1 && a.per == 1 && a.reach == 1 && a.before == 0; }
bool is_summed(const BoxAxis& a) { return a.count == 1 && a.per == 1 && a.reach == a.length && a.before == 0 && a.most == a.length; }

// The axes after the samples, and the shape of the result after the axes `before`, which are kept.
struct Boxes {
  std::size_t before;
  std::vector<BoxAxis> axes;
  std::vector<Index> shape;
  bool averages;
};
using AnyBoxes = std::shared_ptr<const Boxes>;

// Neighbouring axes that are both kept, or both summed, are one; the first is kept.
Layer<cuda::BoxMap> layer_of(const Argument& x, const Boxes& boxes) {
  auto z = x.shape();
  z.resize(boxes.before);
  z.insert(z.end(), boxes.shape.begin(), boxes.shape.end());
  check_sample("x", x.shape());
  check_sample("z", z);
  std::vector<BoxAxis> axes{kept(1)};
  for (const BoxAxis& axis : boxes.axes) {
    BoxAxis& last = axes.back();
    if (is_kept(last) && is_kept(axis))
      last = kept(last.length * axis.length);
    else if (axes.size() > 1 && is_summed(last) && is_summed(axis))
      last = summed(last.length * axis.length);
    else
      axes.push_back(axis);
  }
  cuda::BoxMap map{x.shape()[0], axes[0].length, {}, boxes.averages};
  const std::size_t count = axes.size() - 1, ahead = cuda::BoxMap::rank - count;
  if (count > cuda::BoxMap::rank)
    throw std::runtime_error("a reduction over " + std::to_string(count) + " separate axes has no CUDA kernel");
  for (std::size_t d = 0; d < cuda::BoxMap::rank; ++d) map.axes[d] = d < ahead ? kept(1) : axes[d - ahead + 1];
  return {map, z};
}

AnyBoxes sums_of(const Argument& x, const py::object& axes, bool keepdims, bool averages) {
  return remembered<Boxes>(py::make_tuple(shape_tuple(x.shape()), axes, int{keepdims}, int{averages}), [&] {
    const auto lengths = x.shape();
    const auto reduced = reduced_axes(lengths, axes, keepdims);
    Boxes made{1, {}, reduced.shape, averages};
    for (std::size_t a = 1; a < lengths.size(); ++a)
      made.axes.push_back((reduced.is_summed[a] ? summed : kept)(static_cast<int>(lengths[a])));
    return made;
  });
}

// The geometry of windows over the axes of an image, whose number pyref finds: axis(length, count, number of the axis).
template <class Axis>
Boxes pooling(const Argument& x, const py::object& of_pyref, Axis&& axis) {
  Boxes made{2, {kept(static_cast<int>(x.shape()[1]))}, {}, true};
  int number = 0;
  for (py::handle windows : py::cast<py::tuple>(of_pyref)[0]) {
    const auto length = static_cast<int>(x.shape()[made.axes.size() + 1]), count = static_cast<int>(py::len(windows));
    made.axes.push_back(axis(length, count, number++));
    made.shape.push_back(count);
  }
  return made;
}

AnyBoxes averages_of(const Argument& x, const AverageSettings& s) {
  const auto call = py::make_tuple("avg_pool", shape_tuple(x.shape()), s.kernel, s.stride, s.padding, int{s.ceil_mode}, int{s.count_include_pad});
  return remembered<Boxes>(call, [&] {
    const py::object found = py::module_::import("pyref.layers.pool")
                                 .attr("avg_pool_boxes")(x.object, s.kernel, s.stride, s.padding, s.ceil_mode, s.count_include_pad);
    const auto of_pyref = py::module_::import("pyref.layers.window");
    const int rank = static_cast<int>(x.ndim()) - 2;
    const auto kernel = py::cast<std::vector<int>>(of_pyref.attr("per_axis")("kernel", s.kernel, rank));
    const auto stride =
        s.stride.is_none() ? kernel : py::cast<std::vector<int>>(of_pyref.attr("per_axis")("stride", s.stride, rank));
    const auto padding = py::cast<std::vector<std::pair<int, int>>>(of_pyref.attr("padding_pairs")(s.padding, rank));
    return pooling(x, found, [&](int length, int count, int number) {
      const auto d = static_cast<std::size_t>(number);
      const auto [before, after] = padding[d];
      if (kernel[d] == length && before == 0 && count == 1) return summed(length);
      if (kernel[d] == 1 && stride[d] == 1 && before == 0 && after == 0) return kept(length);
      const int beyond = s.count_include_pad ? 1 : 0;
      return BoxAxis{length, count, stride[d], 1, kernel[d], before, -before * beyond, length + after * beyond};
    });
  });
}

AnyBoxes adaptive_of(const Argument& x, const py::object& output_size) {
  return remembered<Boxes>(py::make_tuple("adaptive_avg_pool", shape_tuple(x.shape()), output_size), [&] {
    const py::object found = py::module_::import("pyref.layers.pool").attr("adaptive_avg_pool_boxes")(x.object, output_size);
    return pooling(x, found, [&](int length, int count, int) {
      if (count == 1) return summed(length);
      if (count == length) return kept(length);
      return BoxAxis{length, count, length, count, length, 0, 0, length};
    });
  });
}

struct ReduceOnDevice : Unweighted<LayersInDeviceMemory<>> {
  using Boxed = Layer<cuda::BoxMap>;
  static Boxed over_axes(const Argument& x, const py::object& axes, bool keepdims, bool is_mean) {
    return layer_of(x, *sums_of(x, axes, keepdims, is_mean));
  }
  static Boxed average(const Argument& x, const AverageSettings& settings) { return layer_of(x, *averages_of(x, settings)); }
  static Boxed adaptive(const Argument& x, const py::object& output_size) { return layer_of(x, *adaptive_of(x, output_size)); }
};

}  // namespace

void bind_cuda_reduce(py::module_& module) { def_reductions<ReduceOnDevice>(module); }
