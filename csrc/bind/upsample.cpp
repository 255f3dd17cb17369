#include "upsample.h"

#include "affine.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The geometry of an image, and in one dtype as the kernels take it.
struct Stretched {
  Index samples, channels;
  std::shared_ptr<const UpsampleGeometry> geometry;
};
template <class T>
class SizeFor {
 public:
  explicit SizeFor(const Stretched& from) {
    for (const auto& taps : from.geometry->there) there_.push_back(of(taps));
    for (const auto& taps : from.geometry->back) back_.push_back(of(taps));
    size_ = {from.samples, from.channels, static_cast<int>(there_.size()), there_.data(), back_.data()};
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

struct UpsampleKernels : AsGiven {
  template <class T>
  static void forward(const Stretched& of, const T* x, const T*, const T*, T* z) {
    cpu::upsample_forward(SizeFor<T>(of).size(), x, z);
  }
  template <class T>
  static void gradient(const Stretched& of, const T*, const T* G, T* G_x) {
    cpu::upsample_gradient(SizeFor<T>(of).size(), G, G_x);
  }
  template <class T, class... Rest>
  static void relevance(const Stretched& of, const T* x, const T*, const T*, const Rest&... rest) {
    cpu::upsample_relevance(SizeFor<T>(of).size(), x, rest...);
  }
};

struct UpsampleOnHost : Unweighted<LayersInHostMemory<UpsampleKernels>> {
  static Layer<Stretched> layer(const char*, const py::array& x, const py::object& size, const py::object& mode,
                                const py::object& align_corners) {
    const auto geometry = upsample_geometry(shape_of(x), size, mode, align_corners);
    return {{x.shape(0), x.shape(1), geometry}, upsampled_shape(shape_of(x), *geometry)};
  }
};

}  // namespace

void bind_upsample(py::module_& cpu) { def_upsample<UpsampleOnHost>(cpu); }
