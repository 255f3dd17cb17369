// Weighted sums over boxes: sums and means over axes, of pyref/layers/reduce.py, and the averages of pyref/layers/pool.py.
#include "relprop/reduce.h"

#include "affine.h"
#include "math/pool.h"
#include "reduce.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// Where a sum over boxes takes the numbers of a sample from.
struct Boxes {
  std::size_t before = 1;  // axes of x that are not summed over: the samples, and for pooling the channels
  std::vector<Index> lengths, counts, shape;  // shape: of the result after the axes before
  std::vector<std::vector<Index>> start, stop;
  std::vector<double> weights;
};
using AnyBoxes = std::shared_ptr<const Boxes>;

// Weights 1 / n from the numbers n that each axis counts.
std::vector<double> average_weights(const std::vector<std::vector<Index>>& sizes) {
  std::vector<double> n{1};
  for (const auto& axis : sizes) {
    std::vector<double> longer;
    for (const double so_far : n)
      for (const Index size : axis) longer.push_back(so_far * static_cast<double>(size));
    n = std::move(longer);
  }
  for (double& each : n) each = math::average_weight(each);
  return n;
}

AnyBoxes pooling(const char* of_pyref, const py::array& x, const py::tuple& settings) {
  return remembered<Boxes>(py::make_tuple(of_pyref, x.attr("shape"), settings), [&] {
    const py::tuple found = py::module_::import("pyref.layers.pool").attr(of_pyref)(x, *settings);
    Boxes made;
    made.before = 2;
    std::vector<std::vector<Index>> sizes;
    for (py::handle axis : found[0]) {
      made.lengths.push_back(x.shape(static_cast<int>(made.lengths.size()) + 2));
      auto &start = made.start.emplace_back(), &stop = made.stop.emplace_back();
      for (py::handle span : axis) {
        const auto interval = py::reinterpret_borrow<py::tuple>(span);
        start.push_back(py::cast<Index>(interval[0]));
        stop.push_back(py::cast<Index>(interval[1]));
      }
      made.counts.push_back(static_cast<Index>(start.size()));
    }
    for (py::handle axis : found[1]) sizes.push_back(numbers(py::reinterpret_borrow<py::object>(axis)));
    made.shape = made.counts;
    made.weights = average_weights(sizes);
    return made;
  });
}

AnyBoxes reduction(const py::array& x, const py::object& axes, bool keepdims, bool is_mean) {
  return remembered<Boxes>(py::make_tuple(x.attr("shape"), axes, int{keepdims}, int{is_mean}), [&] {
    const auto reduced = reduced_axes(shape_of(x), axes, keepdims);
    Boxes made;
    made.shape = reduced.shape;
    Index n = 1, boxes = 1;
    for (int a = 1; a < x.ndim(); ++a) {
      const bool is_summed = reduced.is_summed[static_cast<std::size_t>(a)];
      made.lengths.push_back(x.shape(a));
      made.counts.push_back(is_summed ? 1 : x.shape(a));
      made.start.push_back(is_summed ? std::vector<Index>{0} : std::vector<Index>{});
      made.stop.push_back(is_summed ? std::vector<Index>{x.shape(a)} : std::vector<Index>{});
      (is_summed ? n : boxes) *= x.shape(a);
    }
    made.weights.assign(static_cast<std::size_t>(boxes), is_mean ? math::average_weight(static_cast<double>(n)) : 1);
    return made;
  });
}

std::vector<Index> shape_after(const py::array& x, const Boxes& boxes) {
  std::vector<Index> shape(x.shape(), x.shape() + boxes.before);
  shape.insert(shape.end(), boxes.shape.begin(), boxes.shape.end());
  return shape;
}

// The boxes for the kernels, with x's samples and channels.
class Size {
 public:
  Size(const py::array& x, const AnyBoxes& boxes) : boxes_(boxes) {
    for (std::size_t a = 0; a < boxes->lengths.size(); ++a) {
      const bool is_one_place = boxes->start[a].empty();
      axes_.push_back({boxes->lengths[a], boxes->counts[a], is_one_place ? nullptr : boxes->start[a].data(),
                       is_one_place ? nullptr : boxes->stop[a].data()});
    }
    size_ = {x.shape(0), boxes->before == 2 ? x.shape(1) : 1, static_cast<int>(axes_.size()), axes_.data()};
  }
  Size(const Size&) = delete;

  const cpu::BoxSize& size() const { return size_; }
  template <class T>
  std::vector<T> weights() const {
    return {boxes_->weights.begin(), boxes_->weights.end()};
  }

 private:
  AnyBoxes boxes_;
  std::vector<cpu::BoxAxis> axes_;
  cpu::BoxSize size_;
};

using AnySize = std::shared_ptr<const Size>;

struct ReduceKernels : AsGiven {
  template <class T>
  static void forward(const AnySize& of, const T* x, const T*, const T*, T* z) {
    cpu::reduce_forward(of->size(), x, of->weights<T>().data(), z);
  }
  template <class T>
  static void gradient(const AnySize& of, const T*, const T* G, T* G_x) {
    cpu::reduce_gradient(of->size(), of->weights<T>().data(), G, G_x);
  }
  template <class T, class... Rest>
  static void relevance(const AnySize& of, const T* x, const T*, const T*, const Rest&... rest) {
    cpu::reduce_relevance(of->size(), x, of->weights<T>().data(), rest...);
  }
};

Layer<AnySize> layer_of(const py::array& x, const AnyBoxes& boxes) {
  return {std::make_shared<const Size>(x, boxes), shape_after(x, *boxes)};
}

struct ReduceOnHost : Unweighted<LayersInHostMemory<ReduceKernels>> {
  static Layer<AnySize> over_axes(const py::array& x, const py::object& axes, bool keepdims, bool is_mean) {
    return layer_of(x, reduction(x, axes, keepdims, is_mean));
  }
  static Layer<AnySize> average(const py::array& x, const AverageSettings& s) {
    const auto settings = py::make_tuple(s.kernel, s.stride, s.padding, int{s.ceil_mode}, int{s.count_include_pad});
    return layer_of(x, pooling("avg_pool_boxes", x, settings));
  }
  static Layer<AnySize> adaptive(const py::array& x, const py::object& output_size) {
    return layer_of(x, pooling("adaptive_avg_pool_boxes", x, py::make_tuple(output_size)));
  }
};

}  // namespace

void bind_reduce(py::module_& cpu) { def_reductions<ReduceOnHost>(cpu); }
