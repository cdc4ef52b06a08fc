/* Trees built and taken down again: calls, malloc and free. */
#include "work.h"

struct tree {
    struct tree *left, *right;
};

static struct tree *grow(uint32_t depth)
{
    struct tree *tree = malloc(sizeof *tree);
    if (!tree)
        exit(1);
    tree->left = depth ? grow(depth - 1) : NULL;
    tree->right = depth ? grow(depth - 1) : NULL;
    return tree;
}

static uint32_t fell(struct tree *tree)
{
    uint32_t nodes = 1;
    if (tree->left)
        nodes += fell(tree->left) + fell(tree->right);
    free(tree);
    return nodes;
}

int main(int argc, char **argv)
{
    enum { DEPTH = 15 };
    uint32_t rounds = work(argc, argv, 480);
    struct tree *lasting = grow(DEPTH);
    uint32_t nodes = 0;

    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t depth = 4 + round * 4 % (DEPTH - 3);
        for (uint32_t i = 0; i < 1u << (DEPTH - depth); i++)
            nodes += fell(grow(depth));
    }
    printf("binary-trees %u %u\n", nodes, fell(lasting));
    return 0;
}
