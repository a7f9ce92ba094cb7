/* Any bytes as each of the JSON files of a model folder. */
#include "model/config.h"
#include "model/weights_index.h"

#include "tests/fuzz/fuzz.h"
#include "tests/model/sampler_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    dr_text_encoder_config text_encoder;
    dr_sampler_config sampler;
    dr_weights_index index;
    dr_unet_config unet;
    dr_vae_config vae;
    dr_error err = { 0 };

    if (!dr_unet_config_read(&unet, path, &err))
        dr_assert(unet.blocks >= 1 && unet.blocks <= DR_BLOCKS_MAX &&
                  unet.channels[0] % unet.norm_groups == 0);
    if (!dr_vae_config_read(&vae, path, &err))
        dr_assert(vae.blocks >= 1 && vae.blocks <= DR_BLOCKS_MAX && vae.scaling_factor > 0);
    if (!dr_text_encoder_config_read(&text_encoder, path, &err))
        dr_assert(text_encoder.width % text_encoder.heads == 0);
    if (!sampler_file_read(&sampler, path, &err))
        dr_assert((sampler.own != DR_SAMPLER_DEFAULT || sampler.refused[DR_SAMPLER_DEFAULT].status) &&
                  sampler.beta_start <= sampler.beta_end);
    if (!dr_weights_index_read(&index, path, &err))
        dr_assert(index.count >= 1 && index.count <= DR_SHARDS_MAX);
    dr_weights_index_free(&index);
    return 0;
}
