/* config_text_encoder.c - transformers 5.23's CLIPTextConfig (models/clip/configuration_clip.py).
 * Older files hold it as "text_config" inside a CLIPConfig. */
#include "model/config_parts.h"

static const char *const ACTIVATIONS[] = { "quick_gelu", "gelu" };

dr_status dr_text_encoder_config_parse(dr_text_encoder_config *out, const char *path, json_t *root,
                                       dr_error *err)
{
    dr_json j = dr_json_at(path, root, err);
    dr_text_encoder_config c = { 0 };

    dr_json_only(&j, "model_type", "\"clip_text_model\", \"clip\"");
    dr_json_enter(&j, "text_config");
    dr_json_only(&j, "model_type", "\"clip_text_model\", \"clip\"");
    c.vocab_size = dr_json_int(&j, "vocab_size", 49408, 1, DR_VOCAB_MAX);
    c.width = dr_json_int(&j, "hidden_size", 512, 1, DR_CHANNELS_MAX);
    c.layers = dr_json_int(&j, "num_hidden_layers", 12, 1, DR_LAYERS_MAX);
    c.heads = dr_json_int(&j, "num_attention_heads", 8, 1, DR_CHANNELS_MAX);
    c.intermediate = dr_json_int(&j, "intermediate_size", 2048, 1, DR_CHANNELS_MAX);
    c.positions = dr_json_int(&j, "max_position_embeddings", DR_TOKENS, DR_TOKENS, DR_CHANNELS_MAX);
    c.activation = dr_json_choice(&j, "hidden_act", ACTIVATIONS, 2, 0) ? DR_ACT_GELU : DR_ACT_QUICK_GELU;
    c.layer_norm_eps = (float)dr_json_number(&j, "layer_norm_eps", 1e-5, 1e-12, 1);
    if (!j.status && c.width % c.heads)
        dr_json_fail(&j, DR_EFORMAT, "hidden_size", "it must be a multiple of num_attention_heads = %d",
                     c.heads);
    *out = c;
    return j.status;
}
