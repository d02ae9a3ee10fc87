#define DSG_BLOCK ...
#define DSG_TILE ...
#define DSG_MAX_PLANES ...

#define DSG_BUCKETS ...
enum dsg_status {
    DSG_OK,
    DSG_ERR_NULL,
    DSG_ERR_GEOMETRY,
    DSG_ERR_ISA,
    DSG_ERR_CAPACITY,
    ...
};

struct dsg_geometry {
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t colours;
    uint32_t planes;
};

int dsg_sequence_bytes(const struct dsg_geometry *geometry, size_t *bytes);
int dsg_capacity_bytes(const struct dsg_geometry *geometry, size_t *bytes);
int dsg_transform(const struct dsg_geometry *geometry, size_t count, const uint8_t *clean,
                  const uint8_t *target, uint8_t *temporary, uint8_t *sequences);
int dsg_invert(const struct dsg_geometry *geometry, size_t count, const uint8_t *temporary,
               const uint8_t *sequences, uint8_t *clean, uint8_t *malformed);
int dsg_embed(const struct dsg_geometry *geometry, size_t count, uint8_t *images,
              const uint8_t *payloads, size_t stride, size_t bytes);
int dsg_extract(const struct dsg_geometry *geometry, size_t count, const uint8_t *images,
                uint8_t *payloads, size_t bytes);
int dsg_set_isa(const char *name);
const char *dsg_isa(void);
int dsg_exact_sizes(const struct dsg_geometry *geometry, uint32_t block, size_t *bytes,
                    size_t *places);
int dsg_encode(const struct dsg_geometry *geometry, uint32_t block, int coarse, size_t count,
               const uint8_t *clean, const uint8_t *target, uint8_t *temporary, uint8_t *sequences,
               size_t stride, uint32_t *lengths, uint8_t *modes);
int dsg_decode(const struct dsg_geometry *geometry, size_t count, const uint8_t *temporary,
               const uint8_t *modes, const uint8_t *sequences, size_t stride,
               const uint32_t *lengths, uint8_t *clean, uint8_t *malformed);
int dsg_hide(const struct dsg_geometry *geometry, size_t count, const uint8_t *temporary,
             const uint8_t *payloads, size_t stride, const uint32_t *lengths, uint8_t *modes,
             uint8_t *thresholds, uint8_t *hidden, uint8_t *failed);
struct dsg_rows {
    uint32_t height;
    uint32_t row_bytes;
    uint32_t pixel_bytes;
};

int dsg_png_bound(const struct dsg_rows *rows, size_t *bytes);
int dsg_png_pack(const struct dsg_rows *rows, size_t count, int store, const uint8_t *images,
                 uint8_t *packed, size_t stride, uint64_t *lengths);
int dsg_png_unpack(const struct dsg_rows *rows, size_t count, const uint8_t *packed,
                   const uint64_t *ends, uint8_t *scratch, uint8_t *images, uint8_t *malformed);
#define DSG_TRACE_PLACES ...
int dsg_png_trace(const struct dsg_rows *rows, const uint8_t *filtered, const uint8_t *stream,
                  size_t length, int32_t *places, uint8_t *trace, size_t room, size_t *size);
int dsg_png_retrace(const struct dsg_rows *rows, const uint8_t *image, const uint8_t *trace,
                    size_t size, int32_t *places, uint8_t *filtered, uint8_t *stream, size_t room,
                    size_t *length);
int dsg_reveal(const struct dsg_geometry *geometry, size_t count, const uint8_t *hidden,
               const uint8_t *modes, const uint8_t *thresholds, const uint32_t *lengths,
               uint8_t *payloads, size_t stride, uint8_t *temporary, uint64_t *scratch,
               uint8_t *failed);
struct dsg_image {
    uint32_t height;
    uint32_t width;
    uint32_t channels;
};

int dsg_compress_sizes(const struct dsg_image *image, size_t *bytes, size_t *entries);
int dsg_compress(const struct dsg_image *image, size_t count, const uint8_t *images,
                 uint8_t *streams, size_t stride, uint32_t *lengths, uint64_t *scratch);
int dsg_expand(const struct dsg_image *image, size_t count, const uint8_t *streams, size_t stride,
               const uint32_t *lengths, uint8_t *images, uint64_t *scratch, uint8_t *malformed);
int dsg_spread(size_t samples, const uint8_t *masks, size_t count, uint8_t *images,
               const uint8_t *payloads, size_t stride, size_t bytes);
int dsg_gather(size_t samples, const uint8_t *masks, size_t count, const uint8_t *images,
               uint8_t *payloads, size_t bytes);
