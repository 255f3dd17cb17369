#include "upsample.h"

#include "affine.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The geometry in one dtype, as the kernels take it.
template <class T>
class SizeFor {
 public:
  SizeFor(const std::vector<Index>& x, const UpsampleGeometry& geometry) {
    for (const auto& taps : geometry.there) there_.push_back(of(taps));
    for (const auto& taps : geometry.back) back_.push_back(of(taps));
    size_ = {x[0], x[1], static_cast<int>(there_.size()), there_.data(), back_.data()};
  }
  SizeFor(const SizeFor&) = delete;
  const UpsampleSize<T>& size() const { return size_; }

 private:
  Taps<T> of(const TapsOf& taps) {
    weights_.emplace_back(taps.weight.begin(), taps.weight.end());
    return {taps.length, taps.count, taps.begin.data(), taps.from.data(), weights_.back().data()};
  }

  std::vector<std::vector<T>> weights_;
  std::vector<Taps<T>> there_, back_;
  UpsampleSize<T> size_;
};

struct Host : InHostMemory {
  using Layer = std::shared_ptr<const UpsampleGeometry>;

  static Layer layer(const char*, const py::array& x, const py::object& size, const py::object& mode, const py::object& align_corners) {
    return upsample_geometry(x, size, mode, align_corners);
  }

  static py::object forward(const char*, const py::array& x, const Layer& layer) {
    const auto shape = shape_of(x);
    return bind::filled<Repeats::yes>({x}, {upsampled_shape(shape, *layer)}, [shape, layer](auto in, auto out) {
      using T = std::remove_pointer_t<std::decay_t<decltype(out[0])>>;
      cpu::upsample_forward(SizeFor<T>(shape, *layer).size(), in[0], out[0]);
    })[0];
  }

  static py::object gradient(const char*, const py::array& x, const Layer& layer, const py::object& G_) {
    const auto shape = shape_of(x);
    const auto G = array("G", G_, upsampled_shape(shape, *layer));
    return bind::filled<Repeats::yes>({G, x}, {shape}, [shape, layer](auto in, auto out) {
      using T = std::remove_pointer_t<std::decay_t<decltype(out[0])>>;
      cpu::upsample_gradient(SizeFor<T>(shape, *layer).size(), in[0], out[0]);
    })[0];
  }

  static py::object relevance(const char*, const py::array& x, const Layer& layer, const py::object& R, const py::object& rule,
                              const py::object& z, const py::object& account) {
    const auto shape = shape_of(x);
    const auto kernel = [shape, layer](auto in, auto, auto, auto arrived, const auto& acting, const auto& bounds, auto known,
                                       auto kept, auto* out) {
      using T = std::remove_pointer_t<decltype(out)>;
      cpu::upsample_relevance(SizeFor<T>(shape, *layer).size(), in, arrived, acting, bounds, known, kept, out);
    };
    return affine_relevance(upsampled_shape(shape, *layer), x, std::nullopt, std::nullopt, R, rule, z, account, kernel);
  }
};

}  // namespace

void bind_upsample(py::module_& cpu) { def_upsample<Host>(cpu); }
