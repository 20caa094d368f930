"""Looks at a student's function and says what it sees; nothing imports it."""

from aigc_course.checks.autoencoder_and_contrastive_loss import check_contrast, check_draw_code, check_stay_near
from aigc_course.checks.captioner import check_enough, check_labels, check_token_accuracy
from aigc_course.checks.content import check_brand_for, check_flicker_of, check_seam_across
from aigc_course.checks.continual_learning import check_backward_transfer, check_distillation, check_reservoir
from aigc_course.checks.cross_entropy import check_adamw_step, check_masked_loss, check_score_gradient
from aigc_course.checks.design import check_overlap, check_region_mask, check_same_chart
from aigc_course.checks.diffusion_loss import check_jump, check_noise_weight, check_posterior_mean
from aigc_course.checks.fast_style import check_loss_of_decoder, check_mixed_styles, check_share_right
from aigc_course.checks.generating_in_less import check_blended, check_kept, check_merged_parts
from aigc_course.checks.guidance_and_sampling import check_clean_end, check_ddim_step, check_heun_step
from aigc_course.checks.known_and_claimed import check_loss_gradient, check_reported_accuracy, check_sentence_surprise
from aigc_course.checks.lora import check_beside, check_factor_gradients, check_merged
from aigc_course.checks.new_thing import check_all_right, check_one_row, check_prior_loss
from aigc_course.checks.picture_world import check_box, check_entropy, check_scene
from aigc_course.checks.prompt_learning import check_class_means, check_name_shares, check_votes
from aigc_course.checks.several_processes import check_order, check_part, check_weighted_mean
from aigc_course.checks.shipping import check_agrees, check_pods, check_redrawn_difference
from aigc_course.checks.studio import check_listener, check_parameter, check_variation
from aigc_course.checks.style_by_diffusion import (
    check_decoupled_attention,
    check_redrawing_start,
    check_shared_attention,
)
from aigc_course.checks.teaching import check_back_place, check_chances, check_precision_recall
from aigc_course.checks.training_in_less import check_part_loss, check_small_step, check_there_and_back
from aigc_course.checks.what_is_style import check_masked_gram, check_mean_slope, check_spread
from aigc_course.checks.where_bytes_go import check_fixed_bytes, check_kept_bytes, check_peak
from aigc_course.checks.words_to_picture import check_guidance, check_prompt, check_to_bytes

__all__ = [
    "check_adamw_step",
    "check_agrees",
    "check_all_right",
    "check_back_place",
    "check_backward_transfer",
    "check_beside",
    "check_blended",
    "check_box",
    "check_brand_for",
    "check_chances",
    "check_class_means",
    "check_clean_end",
    "check_contrast",
    "check_ddim_step",
    "check_decoupled_attention",
    "check_distillation",
    "check_draw_code",
    "check_enough",
    "check_entropy",
    "check_factor_gradients",
    "check_fixed_bytes",
    "check_flicker_of",
    "check_guidance",
    "check_heun_step",
    "check_jump",
    "check_kept",
    "check_kept_bytes",
    "check_labels",
    "check_listener",
    "check_loss_gradient",
    "check_loss_of_decoder",
    "check_masked_gram",
    "check_masked_loss",
    "check_mean_slope",
    "check_merged",
    "check_merged_parts",
    "check_mixed_styles",
    "check_name_shares",
    "check_noise_weight",
    "check_one_row",
    "check_order",
    "check_overlap",
    "check_parameter",
    "check_part",
    "check_part_loss",
    "check_peak",
    "check_pods",
    "check_posterior_mean",
    "check_precision_recall",
    "check_prior_loss",
    "check_prompt",
    "check_redrawing_start",
    "check_redrawn_difference",
    "check_region_mask",
    "check_reported_accuracy",
    "check_reservoir",
    "check_same_chart",
    "check_scene",
    "check_score_gradient",
    "check_seam_across",
    "check_sentence_surprise",
    "check_share_right",
    "check_shared_attention",
    "check_small_step",
    "check_spread",
    "check_stay_near",
    "check_there_and_back",
    "check_to_bytes",
    "check_token_accuracy",
    "check_variation",
    "check_votes",
    "check_weighted_mean",
]
