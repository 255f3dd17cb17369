#include "cuda/shape.cuh"

namespace relprop::cuda {

namespace {

template <class From, class To>
struct Pack {
  Layout layout;
  const From* from;
  To* to;
  HD void operator()(Index i) const { to[i] = static_cast<To>(from[place_of(layout, i)]); }
};

template <class T>
struct Gather {
  Layout kept, summed;
  const T* from;
  T* to;
  HD void operator()(Index i) const {
    const Index first = place_of(kept, i), count = summed.size();
    T sum(0);
    for (Index k = 0; k < count; ++k) sum = sum + from[first + place_of(summed, k)];
    to[i] = sum;
  }
};

}  // namespace

template <class T>
void gather(const char* operation, Stream stream, const Layout& from_layout, const T* from, const Index* to_shape, T* to) {
  Layout kept = from_layout, summed = from_layout;
  for (int d = 0; d < kept.rank; ++d) {
    (to_shape[d] == from_layout.shape[d] ? summed : kept).shape[d] = 1;
  }
  for_each_element(operation, stream, kept.size(), Gather<T>{kept, summed, from, to});
}

template void gather(const char*, Stream, const Layout&, const float*, const Index*, float*);
template void gather(const char*, Stream, const Layout&, const double*, const Index*, double*);

template <class From, class To>
void pack(const char* operation, Stream stream, const Layout& layout, const From* from, To* to) {
  for_each_element(operation, stream, layout.size(), Pack<From, To>{layout, from, to});
}

template void pack(const char*, Stream, const Layout&, const float*, float*);
template void pack(const char*, Stream, const Layout&, const float*, double*);
template void pack(const char*, Stream, const Layout&, const double*, double*);
template void pack(const char*, Stream, const Layout&, const std::int8_t*, Index*);
template void pack(const char*, Stream, const Layout&, const std::uint8_t*, Index*);
template void pack(const char*, Stream, const Layout&, const std::int16_t*, Index*);
template void pack(const char*, Stream, const Layout&, const std::uint16_t*, Index*);
template void pack(const char*, Stream, const Layout&, const std::int32_t*, Index*);
template void pack(const char*, Stream, const Layout&, const std::uint32_t*, Index*);
template void pack(const char*, Stream, const Layout&, const Index*, Index*);

}  // namespace relprop::cuda
